"""The sign of life that long work gives, which tells slow work from work that hangs."""

from collections.abc import Callable

# Called after each image, batch that was read, or step of a solver.
Heartbeat = Callable[[], None]


def no_heartbeat() -> None:
    """Do nothing: nobody watches this work."""
