"""Whether this machine lets a process make semaphores, which a worker and its processes share."""

import multiprocessing

from workers.errors import MachineError


def check_semaphores() -> None:
    """Make a semaphore as Celery's pool does.

    Raises:
        MachineError: When the machine refuses; says what to do.
    """
    try:
        multiprocessing.get_context("fork").Semaphore()
    # ImportError: this Python was built without them.
    except (OSError, ImportError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MachineError(
            f"No semaphore can be made: {reason}. A worker needs /dev/shm, writable and not full "
            "(in a container: --shm-size, or a tmpfs there)."
        ) from error
