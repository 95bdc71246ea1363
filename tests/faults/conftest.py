"""Every test of a fault starts from a converted backbone and leaves no process behind."""

from tests.end_to_end.conftest import TINY, _no_orphans, photos, runtime
from tests.faults.small import few, undisturbed_few

__all__ = ["TINY", "_no_orphans", "few", "photos", "runtime", "undisturbed_few"]
