"""Every test of a fault starts from a converted backbone and leaves no process behind."""

from tests.end_to_end.conftest import TINY, _no_orphans, photos, runtime

__all__ = ["TINY", "_no_orphans", "photos", "runtime"]
