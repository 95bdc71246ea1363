"""Every error of poets: one sentence that says what happened and what to do next."""


class PoetsError(Exception):
    """Base of all errors that a user may see as one line."""

    exit_code = 1


class UsageError(PoetsError):
    """The command was called in a way that cannot work; nothing was done."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting (flag, environment, poets.toml) is missing, unknown or malformed."""


class DatasetError(PoetsError):
    """The folder given cannot become a run: missing, empty, or a label too small."""


class SmallLabelsError(DatasetError):
    """Labels have too few images for every split; `counts` says how many each has."""

    def __init__(self, message: str, counts: dict[str, int]) -> None:
        super().__init__(message)
        self.counts = counts


class UnknownArchitectureError(UsageError):
    """No row of the table of architectures has this name."""


class WeightsError(PoetsError):
    """Pretrained weights are missing, damaged, or do not fit the architecture."""


class RunError(PoetsError):
    """A run does not exist, exists already, or cannot go on."""


class ModelError(PoetsError):
    """A model folder is missing, damaged, or does not fit."""


class ExportError(PoetsError):
    """A model cannot be handed out in a format."""


class BrokerError(PoetsError):
    """No broker can be reached or started, or it is configured in a way that loses work."""


class StorageError(PoetsError):
    """The shared storage cannot be written or read; never the fault of an image."""


class ImageError(PoetsError):
    """One image cannot be read. Becomes a row with this reason and never ends a run."""


class ShardError(PoetsError):
    """A shard is damaged; readers treat it as missing."""


class BottlenecksMissingError(PoetsError):
    """Some batches of a run have no whole bottlenecks; they were marked to be done again."""


class LeaseLostError(PoetsError):
    """Somebody else has taken over this work; what was computed is thrown away."""


class AccuracyError(PoetsError):
    """A model is less accurate than the command was told to assert; it is kept."""
