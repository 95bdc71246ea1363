"""Every error of poets: a sentence that says what happened.

What to type next is for `cli.advice` to say, by the type of the error and its run.
"""

from pathlib import Path


class PoetsError(Exception):
    """Base of all errors that a user may see as one line.

    Attributes:
        run: Name of the run that it is about. Where the type says nothing else, that run can
            be resumed once the cause is mended.
    """

    exit_code = 1

    def __init__(self, message: str, run: str | None = None) -> None:
        super().__init__(message)
        self.run = run


class UsageError(PoetsError):
    """The flags or arguments cannot work, whatever is on this machine; nothing was done."""

    exit_code = 2


class RefusedError(PoetsError):
    """What is there already forbids it, such as a file that would be overwritten."""


class SettingsError(UsageError):
    """A setting (flag, environment, poets.toml) is missing, unknown or malformed."""


class NoHomeError(SettingsError):
    """A path begins with ~, and this user has no home folder."""


class DatasetError(PoetsError):
    """The folder given cannot become a run: missing, empty, or a label too small."""


class AmbiguousSplitsError(DatasetError):
    """Folders may be splits or labels; a person must say which."""


class LinksNotFollowedError(DatasetError):
    """What a run needs is behind symbolic links, which it was not told to follow."""


class OtherFolderError(DatasetError):
    """A folder is one level too high or too low; `folder` is the one that would do."""

    def __init__(self, message: str, folder: str) -> None:
        super().__init__(message)
        self.folder = folder


class SmallLabelsError(DatasetError):
    """Labels have too few images for every split; `counts` says how many each has."""

    def __init__(self, message: str, counts: dict[str, int]) -> None:
        super().__init__(message)
        self.counts = counts


class UnknownArchitectureError(UsageError):
    """No row of the table of architectures has this name."""


class NoDistortionError(UsageError):
    """Variants of images were asked for, and nothing that would make them differ."""


class PortTakenError(RefusedError):
    """A server cannot listen where it was told to."""


class OtherPoetsError(PoetsError):
    """Another version of poets planned this, and would compute other bottlenecks."""


class WeightsError(PoetsError):
    """Pretrained weights are missing, damaged, or do not fit the architecture."""


class NoWeightsError(WeightsError):
    """Pretrained weights are nowhere: `file` is missing, which Keras publishes at `url`.

    Attributes:
        folder: Where it would be found.
    """

    def __init__(self, message: str, file: str, folder: str, url: str) -> None:
        super().__init__(message)
        self.file, self.folder, self.url = file, folder, url


class RunError(PoetsError):
    """A run does not exist, exists already, or cannot continue."""


class RunNameError(RunError):
    """No run can have this name."""

    exit_code = 2


class NoRunError(RunError):
    """There is no run of this name."""


class NameTakenError(RunError):
    """There is a run of this name already."""


class RunDrivenError(RunError):
    """A run cannot be deleted while a process drives it or works on it."""


class RunNeededError(RunError):
    """A run cannot be deleted while `run`, which was made from it, has not ended."""


class UnfinishedRunError(RunError):
    """A run must have ended before this can be done."""


class FailedSweepError(RunError):
    """No trial of a sweep has given a head; `run` is what it was a sweep of."""


class TooManyFailedError(RunError):
    """No worker could open too many of a run's images; `run` continues once they are back."""


class NoCoordinatorError(RunError):
    """Nobody would drive a detached run."""


class LabellingJobError(RefusedError):
    """A run that trains was asked for, and this one labels images."""


class OutputExistsError(RefusedError):
    """The output exists already, and may not be overwritten."""


class TargetError(RefusedError):
    """The folder to export to holds something else."""


class EarlierExportError(TargetError):
    """The folder to export to holds an earlier export, which may be replaced."""


class ModelError(PoetsError):
    """A model folder is missing, damaged, or does not fit."""


class NoModelError(ModelError):
    """No run of the storage has trained a model."""


class NoModelYetError(ModelError):
    """A run has not trained its model yet."""


class AmbiguousModelError(ModelError):
    """A run and a model folder have one name; `folder` is that of the run."""

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message)
        self.folder = folder


class UnknownModelError(ModelError):
    """There is neither a run nor a model folder of this name."""


class ExportError(PoetsError):
    """A model cannot be handed out in a format."""


class BrokerError(PoetsError):
    """No broker can be reached or started, or it is configured in a way that loses work."""


class NoBrokerError(BrokerError):
    """No broker was named, and none may be started."""


class OtherStackError(BrokerError):
    """The embedded stack that is up belongs to another version of poets."""


class MachineError(PoetsError):
    """The machine, or the container, withholds something that every worker needs."""


class StorageError(PoetsError):
    """The shared storage cannot be written or read; never the fault of an image."""


class NoStorageError(StorageError):
    """A folder has no marker of a storage: unmounted, or nobody has made one there yet."""

    def __init__(self, message: str, root: Path) -> None:
        super().__init__(message)
        self.root = root


class StorageGoneError(StorageError):
    """A run cannot be reached in the storage any more, such as after an unmount."""


class ImageError(PoetsError):
    """One image cannot be read. Becomes a row with this reason and never ends a run."""


class UnreachableError(ImageError):
    """A planned image cannot be opened here, or is not as planned; another worker may do better."""


class UnconfirmedError(StorageError):
    """A worker cannot open some images of a batch, which another worker is to try first.

    Attributes:
        is_unable: Whether this worker should leave the work to others for a while.
    """

    def __init__(self, message: str, is_unable: bool) -> None:
        super().__init__(message)
        self.is_unable = is_unable


class ShardError(PoetsError):
    """A shard is damaged; readers treat it as missing."""


class BottlenecksMissingError(PoetsError):
    """Some batches of a run have no whole bottlenecks; they were marked to be done again."""


class LeaseLostError(PoetsError):
    """Somebody else has taken over this work; what was computed is thrown away."""


class AccuracyError(PoetsError):
    """A model is less accurate than the command was told to assert; it is kept."""
