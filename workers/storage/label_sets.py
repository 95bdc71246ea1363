"""The labels of one image of a multi-label data set as one text: a JSON list, sorted."""

import json
from collections.abc import Iterable, Sequence


def join_labels(labels: Iterable[str]) -> str:
    """Return such as ``["circle", "red"]``, ``[]`` for none; a label may hold any character."""
    return json.dumps(sorted(set(labels)), ensure_ascii=False)


def split_labels(text: str) -> list[str]:
    """Return the labels that `join_labels` was given, sorted."""
    labels: list[str] = json.loads(text)
    return labels


def name_labels(numbers: Iterable[int], labels: Sequence[str], is_multi_label: bool) -> str:
    """Return the label of an image, or the text of its set, by their numbers."""
    names = [labels[number] for number in numbers]
    return join_labels(names) if is_multi_label else names[0]
