"""What the program that exports a model is asked for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ExportRequest:
    """What to write.

    Attributes:
        model: The model folder.
        target: An existing folder to write into.
        formats: Names of rows of FORMATS.
        weights: Weights file of the backbone, None for random ones.
        photographs: Path, size in bytes and modification time in ns of training images.
        no_photographs: Why there are none.
    """

    model: str
    target: str
    formats: tuple[str, ...]
    weights: str | None
    final_tensor_name: str
    photographs: tuple[tuple[str, int, int], ...] = ()
    no_photographs: str = ""
