"""The sign of life that long work gives, so that whoever waits can tell slow from hanging."""

from collections.abc import Callable

# Called after each image, batch that was read, or step of a solver.
Heartbeat = Callable[[], None]


def no_heartbeat() -> None:
    """Do nothing: nobody waits."""
