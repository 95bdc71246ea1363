"""Everything that can be wrong with a data set before any work, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from orchestrator.dataset.dataset import labels_of
from orchestrator.dataset.label_file import list_some
from orchestrator.dataset.scan import FoundImage

# Where results begin to be useful; the codelab's retrain.py says the same.
FEW_IMAGES = 20
_MOST_NAMED = 3


@dataclass(frozen=True)
class Kind:
    """A kind of concern.

    Attributes:
        spoils: A run would fail, or learn something false.
    """

    title: str
    advice: str
    spoils: bool = False

    @property
    def heading(self) -> str:
        # `capitalize` would make "srgb" of sRGB.
        return self.title[0].upper() + self.title[1:]


# In the order in which they are shown.
KINDS = {
    "refused": Kind("refusals", "A run would be refused, saying:", spoils=True),
    "nothing_readable": Kind(
        "no image can be read", "Give the folder that holds the photographs.", spoils=True
    ),
    "small_labels": Kind(
        "labels with fewer images than splits",
        "Add images, remove the folder, or set a percentage to 0.",
        spoils=True,
    ),
    "untaught_labels": Kind(
        "labels with no training image left",
        "Add or repair images: unreadable ones, and copies of held-out ones, do not train.",
        spoils=True,
    ),
    "alike_labels": Kind(
        "labels that look like one",
        "If they mean the same, give their folders one name; poets keeps them apart.",
        spoils=True,
    ),
    "two_labels": Kind(
        "photographs under two labels", "Keep the copy whose label is right.", spoils=True
    ),
    "two_splits": Kind(
        "photographs in two splits", "A run does not train on the copy; remove one."
    ),
    "copies": Kind("photographs that repeat in one label and split", "Remove all but one."),
    "unreadable": Kind(
        "images that cannot be read",
        "Repair, convert or remove them; a run leaves them out.",
    ),
    "oversized": Kind(
        "images over the limits", "Make them smaller; a run leaves them out."
    ),
    "damaged": Kind(
        "images that are damaged, and read all the same",
        "Look at them: a part may be grey or shifted. A run takes them as they are.",
    ),
    "faint": Kind(
        "images that are all but black or white",
        "Spread their shades: they use less than a sixteenth of what their format holds.",
    ),
    "profiles": Kind(
        "images with a colour profile other than sRGB",
        "It is ignored: convert them to sRGB if their colours matter.",
    ),
    "wrong_endings": Kind(
        "files with the extension of another format",
        "poets goes by the content, but other tools may not: rename them.",
    ),
    "few_images": Kind(
        f"labels with fewer than {FEW_IMAGES} images",
        "Add images: with so few, the results are hardly useful.",
    ),
    "unlabelled": Kind(
        "images in no label's folder", "Move them into one; a run leaves them out."
    ),
    "empty_folders": Kind(
        "folders without an image", "They are not labels; add images if they should be."
    ),
    "unopened": Kind(
        "links, devices and pipes",
        "They are not opened; put the files there instead, or have links followed.",
    ),
    "label_file": Kind("remarks on the labels", "A run warns about them and continues."),
}  # fmt: skip


@dataclass(frozen=True)
class AffectedFile:
    """A file that a concern is about; `split` is None where it has none."""

    path: str
    labels: tuple[str, ...] = ()
    split: str | None = None

    @classmethod
    def of(
        cls, image: FoundImage, is_multi_label: bool, split: str | None = None
    ) -> "AffectedFile":
        return cls(image.path, labels_of(image, is_multi_label), split)


@dataclass(frozen=True)
class Concern:
    """One thing that is wrong, or may be: a row of KINDS, and labels or files."""

    kind: str
    reason: str = ""
    labels: tuple[str, ...] = ()
    files: tuple[AffectedFile, ...] = ()

    @property
    def spoils(self) -> bool:
        return KINDS[self.kind].spoils

    @property
    def subject(self) -> str:
        """What it is about, in one line: ``'daisy/1.jpg' = 'roses/2.jpg'``."""
        names = [file.path for file in self.files] or self.labels
        return list_some([repr(name) for name in names], _MOST_NAMED, " = ")

    @property
    def text(self) -> str:
        """The subject, and the reason."""
        return ": ".join(part for part in (self.subject, self.reason) if part)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "spoils": self.spoils, **msgspec.to_builtins(self)}


def warn_of(concerns: Iterable[Concern]) -> list[str]:
    """Return one warning for each kind of concern, for the start of a run."""
    subjects: dict[str, list[str]] = {}
    for concern in concerns:
        subjects.setdefault(concern.kind, []).append(concern.subject)
    return [
        f"{kind.heading} ({len(subjects[name]):,}): "
        f"{list_some(subjects[name], _MOST_NAMED)}. {kind.advice}"
        for name, kind in KINDS.items()
        if name in subjects
    ]
