"""A model of any format that is to be tried on photographs, and how it is fed: pure data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ScoredModel:
    """A model, by the names of the codelab's scripts; None: as the model itself says.

    Attributes:
        path: A model folder, a frozen TensorFlow 1 graph, or a LiteRT file.
        labels: File with one label a line.
        input_mean, input_std: Pixels x of 0 to 255 are fed as ``(x - mean) / std``.
        input_layer, output_layer: Nodes of a frozen graph.
    """

    path: str
    labels: str | None = None
    input_height: int | None = None
    input_width: int | None = None
    input_mean: float | None = None
    input_std: float | None = None
    input_layer: str | None = None
    output_layer: str | None = None


@dataclass(frozen=True)
class ScoreRequest:
    """Images, by their paths, that `workers.exports.scoring` is to score with a model."""

    model: ScoredModel
    images: tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """An answer: first the labels alone, then for each image its scores, or why it has none.

    Attributes:
        refusal: Why the model cannot be used; the last answer then.
    """

    labels: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    error: str = ""
    refusal: str = ""
