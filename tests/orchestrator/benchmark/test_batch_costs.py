"""What a batch costs: real shards, a real Valkey and a real worker, and nothing left behind."""

import pytest

from orchestrator.benchmark.batch_costs import scratch_storage, time_queue, time_shards
from orchestrator.embedded.stack import find_stack
from workers.settings import Settings

# The supervisor of a stack outlives the call that starts it, on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


def test_scratch_lies_in_the_storage_and_is_gone_afterwards(storage):
    with (
        pytest.raises(RuntimeError),
        scratch_storage(Settings(storage.root, "redis://elsewhere")) as scratch,
    ):
        assert scratch.storage.parent == storage.root
        assert scratch.broker_url is None
        assert time_shards(scratch, ["/photos/a.jpg"], 32, 512) > 0
        assert len(list(scratch.storage.rglob("*.arrow"))) == 6
        raise RuntimeError

    assert not [path for path in storage.root.iterdir() if path.is_dir()]


@pytest.mark.stack
def test_the_queue_is_timed_by_real_messages(storage):
    with scratch_storage(Settings(storage.root)) as scratch:
        assert time_queue(scratch) > 0
        stack = find_stack(scratch)
        assert stack.supervisor() is None
        assert list(stack.folder.iterdir()) == []
        stack.folder.rmdir()

    assert not [path for path in storage.root.iterdir() if path.is_dir()]
