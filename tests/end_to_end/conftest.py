"""Every end-to-end test leaves no process behind."""

from tests.builders.stack import no_orphans, photos, runtime

__all__ = ["no_orphans", "photos", "runtime"]
