"""Where everything lies in storage, and names that cannot leave it."""

import pytest

from workers.errors import RunError
from workers.storage.layout import InRunFolder, RunFolder, Storage


@pytest.mark.parametrize("name", ["a", "flowers-2", "A.b_c-1", "0" * 100])
def test_plain_names_are_allowed(tmp_path, name):
    assert Storage(tmp_path).run(name).path == tmp_path / "runs" / name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "-rf", "a b", "a\n", "ä", "a" * 101]
)
def test_names_that_could_lead_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(RunError, match="is not allowed"):
        Storage(tmp_path).run(name)


def test_no_two_things_of_a_run_share_a_file(tmp_path):
    run = RunFolder(tmp_path / "run")

    names = [name for name, value in vars(RunFolder).items() if isinstance(value, InRunFolder)]
    paths = {getattr(run, name) for name in names}

    assert run.name == "run"
    assert len(paths) == len(names) >= 9
    assert {path.parent for path in paths - {run.report}} == {run.path}
    assert run.report.parent == run.model


def test_prediction_shards_sort_by_their_batch(tmp_path):
    run = RunFolder(tmp_path)

    names = [run.prediction_shard(batch).name for batch in (2, 10, 12345)]

    assert names == sorted(names)


def test_shards_of_two_backbones_never_meet(tmp_path):
    storage = Storage(tmp_path)

    assert (
        storage.shard("one", "abcdef") == tmp_path / "bottlenecks" / "one" / "ab" / "abcdef.arrow"
    )
    assert storage.shard("one", "abcdef") != storage.shard("other", "abcdef")
    assert storage.backbone("one") != storage.backbone("other")
    assert storage.weights("one") != storage.weights("other")
