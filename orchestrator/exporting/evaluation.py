"""How often a model of any format is right on a folder of labelled photographs."""

import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.dataset.scan import FoundImage, no_images, scan_folder
from orchestrator.models import find_model
from orchestrator.progress import Meter, OnProgress
from workers.errors import DatasetError, ModelError, UnknownModelError
from workers.exports.scored_model import Scored, ScoredModel, ScoreRequest
from workers.processes.child import Child, DeathError
from workers.processes.surroundings import QUIET_TENSORFLOW
from workers.settings import Settings
from workers.storage.layout import Storage
from workers.storage.names import decode_name

if TYPE_CHECKING:
    from workers.heads.evaluate import Evaluation

# TensorFlow takes 4 to 11 s to start, more on a busy machine.
_ANSWER_TIMEOUT_S = 300.0
_ASKED_AT_ONCE = 256
_MOST_NAMED = 8


def evaluate_model(
    settings: Settings, model: ScoredModel, folder: Path, on_progress: OnProgress
) -> dict[str, Any]:
    """Return the figures of a model on the images of a folder, which has one folder a label.

    Args:
        model: Its path may also be a run, or "latest".

    Returns:
        What `evaluation.json` has of a split, with `labels`; `mistakes` (`path`, `label`,
        `predicted`, `score`); and `failed`, the images that could not be read (`path`, `reason`).

    Raises:
        DatasetError: When no image has a label, or none can be read.
        ModelError: When the model cannot be used, or does not know a label.
    """
    scan = scan_folder(folder, on_progress)
    images = list(scan.images)
    if not images:
        raise no_images(scan)
    labelled = [image for image in images if image.label is not None]
    if not labelled:
        raise DatasetError(
            f"All {len(images):,} images of {scan.root} are directly in it. Give a folder with one "
            "folder of images for each label."
        )
    model = replace(model, path=_locate(settings, model.path))
    with Child[Scored](
        "workers.exports.scoring", [], Scored, environment=QUIET_TENSORFLOW
    ) as child:
        labels = _open(child, model)
        places = _match_labels(Counter(one.label or "" for one in labelled), labels, scan.root)
        answers = _score(child, model, scan.root, labelled)
        found: list[Scored] = []
        meter, failed = Meter(len(labelled)), 0
        for answer in answers:
            found.append(answer)
            failed += bool(answer.error)
            on_progress(meter.measure("evaluating", len(found), failed))
    return _figures(labelled, labels, places, found)


def _locate(settings: Settings, reference: str) -> str:
    """Return the path of a file, or of the model folder that a run or a path names."""
    if Path(reference).is_file():
        return reference
    try:
        return str(find_model(Storage(settings.storage), reference))
    except UnknownModelError as error:
        raise UnknownModelError(f"There is no file, run or model folder {reference!r}.") from error


def _open(child: Child[Scored], model: ScoredModel) -> tuple[str, ...]:
    return next(_ask(child, ScoreRequest(model, ()))).labels


def _ask(child: Child[Scored], request: ScoreRequest) -> Iterator[Scored]:
    answers = child.answers(request, _ANSWER_TIMEOUT_S)
    try:
        first = next(answers)
    except DeathError as died:
        what = f"The model {request.model.path} {died}"
        raise ModelError(f"{what}: {died.last_words}" if died.last_words else what) from died
    for answer in itertools.chain([first], answers):
        if answer.refusal:
            raise ModelError(answer.refusal)
        yield answer


def _score(
    child: Child[Scored], model: ScoredModel, root: str, images: list[FoundImage]
) -> Iterator[Scored]:
    """Yield an answer for each image; one that ends or hangs the process is a failure."""
    paths = [os.path.join(decode_name(root), decode_name(image.path)) for image in images]
    done = 0
    while done < len(paths):
        answers = _ask(child, ScoreRequest(model, tuple(paths[done : done + _ASKED_AT_ONCE])))
        next(answers)  # the labels again
        try:
            for answer in answers:
                yield answer
                done += 1
        except DeathError as died:
            yield Scored(error=str(died))
            done += 1


def _match_labels(found: Counter[str], labels: tuple[str, ...], root: str) -> dict[str, int]:
    """Return the index of the label of each folder: of its name, or as retrain.py writes it."""
    places = {label: number for number, label in enumerate(labels)}
    matched = {name: places.get(name, places.get(_as_codelab(name), -1)) for name in found}
    strange = sorted(name for name, place in matched.items() if place < 0)
    if strange:
        raise ModelError(
            f"The model does not know {_name(strange)}, which {root} has folders of. It knows "
            f"{_name(list(labels))}."
        )
    return matched


def _as_codelab(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", name.lower())


def _name(labels: list[str]) -> str:
    more = f" and {len(labels) - _MOST_NAMED:,} more" if len(labels) > _MOST_NAMED else ""
    return ", ".join(map(repr, labels[:_MOST_NAMED])) + more


def _figures(
    images: list[FoundImage],
    labels: tuple[str, ...],
    places: dict[str, int],
    answers: list[Scored],
) -> dict[str, Any]:
    from workers.heads.evaluate import evaluate_guesses
    from workers.heads.guesses import Guesses

    both = list(zip(images, answers, strict=True))
    failed = [{"path": one.path, "reason": got.error} for one, got in both if got.error]
    read = [(image, answer) for image, answer in both if not answer.error]
    if not read:
        raise DatasetError(f"None of {len(images):,} images can be read: {failed[0]['reason']}.")
    truth = np.array([places[image.label or ""] for image, _ in read])
    scores = np.array([answer.scores for _, answer in read])
    evaluation = evaluate_guesses(Guesses.from_probabilities(scores, truth), len(labels))
    guesses = evaluation.guesses
    mistakes = [
        {
            "path": read[row][0].path,
            "label": labels[truth[row]],
            "predicted": labels[int(scores[row].argmax())],
            "score": round(float(scores[row].max()), 6),
        }
        for row in np.flatnonzero(~guesses.is_right)
    ]
    return {
        "labels": labels,
        **_describe(labels, evaluation),
        "mistakes": mistakes,
        "failed": failed,
    }


def _describe(labels: tuple[str, ...], evaluation: "Evaluation") -> dict[str, Any]:
    confusion = evaluation.confusion
    by_label = zip(labels, evaluation.by_label, strict=True)
    return {
        "images": evaluation.images,
        "accuracy": evaluation.accuracy,
        "accuracy_interval": evaluation.accuracy_interval,
        "top5_accuracy": evaluation.top5_accuracy,
        "log_loss": evaluation.log_loss,
        "calibration_error": evaluation.calibration_error,
        "per_label": [{"label": label, **asdict(figures)} for label, figures in by_label],
        "confusion": None if confusion is None else confusion.tolist(),
    }
