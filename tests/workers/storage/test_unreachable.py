"""When the failures of several workers are enough to give an image up."""

import pytest

from workers.storage.unreachable import Unreachable

FIRST = Unreachable({"a.jpg": "gone", "b.jpg": "gone"}, ("one:1",))
AGAIN = Unreachable({"a.jpg": "gone"}, (), ("one:1", "two:2"))
AGAIN_BY_TWO = Unreachable({"a.jpg": "gone"}, ("two:2",), ("one:1", "two:2"))


@pytest.mark.parametrize(
    ("note", "missed", "worker", "others", "expected"),
    [
        (Unreachable(), ["a.jpg"], "one:1", {"two:2"}, False),
        (FIRST, ["a.jpg"], "one:1", {"two:2"}, False),
        (FIRST, ["a.jpg"], "two:2", {"one:1"}, True),
        (FIRST, ["a.jpg"], "two:2", set(), True),
        # The first could open this one.
        (FIRST, ["a.jpg", "c.jpg"], "two:2", {"one:1"}, False),
        # At the end, one that has not tried yet decides ...
        (AGAIN, ["a.jpg"], "three:3", {"one:1", "two:2"}, True),
        (AGAIN, ["a.jpg"], "one:1", {"two:2"}, False),
        (AGAIN_BY_TWO, ["a.jpg"], "one:1", {"two:2", "three:3"}, False),
        # ... or else two of those that have.
        (AGAIN_BY_TWO, ["a.jpg"], "one:1", {"two:2"}, True),
        (AGAIN_BY_TWO, ["a.jpg"], "two:2", {"one:1"}, False),
    ],
)
def test_another_worker_confirms_what_one_misses(note, missed, worker, others, expected):
    assert note.is_confirmed(missed, worker, others) is expected
