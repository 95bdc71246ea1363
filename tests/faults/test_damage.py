"""Shards that were cut off, emptied or altered count as missing and are computed again."""

from pathlib import Path

import pytest

from tests.builders.accounting import assert_all_accounted, assert_same_model, stored_results
from tests.builders.programs import poets_json, start
from tests.builders.traps import HOLD_TRAINER, lay, let_go, wait_for_held
from tests.faults.small import SMALL

pytestmark = pytest.mark.stack


def shards_of(storage):
    return {path: path.read_bytes() for path in storage.root.glob("bottlenecks/*/*/*.arrow")}


def cut_in_half(content):
    return content[: len(content) // 2]


def emptied(content):
    return b""


def one_bit_flipped(content):
    # Among the bottlenecks, which the planner does not read.
    place = len(content) - 1000
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def damage(shards):
    assert len(shards) == 3
    kinds = (cut_in_half, emptied, one_bit_flipped)
    for (path, content), kind in zip(shards.items(), kinds, strict=True):
        path.write_bytes(kind(content))


def assert_set_aside(storage, shards):
    assert shards_of(storage) == shards
    found = {path.stem for path in storage.root.glob("bottlenecks/*/*/*.damaged")}
    assert found == {path.stem for path in shards}


def test_shards_damaged_before_the_training_are_computed_again(
    few, ready_storage, tmp_path, undisturbed_few
):
    """Half a shard, a shard of zero bytes and one with a flipped bit, all in one run."""
    traps = lay(tmp_path / "traps", HOLD_TRAINER)
    process = start("submit-dataset", few, *SMALL, "--name", "spring", **traps)
    wait_for_held(tmp_path / "traps")
    whole = shards_of(ready_storage)
    damage(whole)

    let_go(tmp_path / "traps")
    _, err = process.communicate()

    assert process.returncode == 0, err
    assert_set_aside(ready_storage, whole)
    result = poets_json("resume", "spring")
    assert (result["computed"], result["quarantined"], result["lost"]) == (24, 0, 0)
    assert_all_accounted(ready_storage.root, "spring")
    assert_same_model(Path(result["model"]), undisturbed_few.model)


def test_shards_damaged_in_the_cache_are_computed_again(few, ready_storage, undisturbed_few):
    poets_json("submit-dataset", few, *SMALL)
    whole = shards_of(ready_storage)
    damage(whole)

    result = poets_json("submit-dataset", few, *SMALL)

    assert (result["images"], result["quarantined"], result["lost"]) == (24, 0, 0)
    assert_same_model(Path(result["model"]), undisturbed_few.model)
    # The manifest names the shard that was damaged; what was lost lies in one of the run's own.
    found = stored_results(ready_storage, result["run"]).values()
    assert sum(each is not None and each.error is None for each in found) == 24
    assert list(ready_storage.root.glob("bottlenecks/*/*/*.damaged"))
