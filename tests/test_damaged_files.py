"""A flipped bit in a file of a run is a message with the file's name, never a traceback."""

import pytest

from orchestrator.driving.coordinator import UnfinishedRuns
from orchestrator.driving.result import read_failure, read_result
from tests.builders.backbones import BACKBONE_ID, install_tiny
from tests.builders.datasets import make_data_set
from tests.builders.runs import make_run
from workers.backbones.store import has_backbone, whole_backbone
from workers.errors import ModelError, PoetsError, RunError, StorageError
from workers.storage.plan import read_plan

FAILURE = b'{"item": "train", "reason": "no more room"}'


@pytest.fixture
def run(storage, tmp_path):
    return make_run(storage, make_data_set(tmp_path / "photos", per_label=4))


def flips(content: bytes):
    """Yield the content with the top bit of one byte flipped, for each byte."""
    for index in range(len(content)):
        yield content[:index] + bytes([content[index] ^ 0x80]) + content[index + 1 :]


def test_a_flipped_bit_in_a_plan_is_a_damaged_run(run):
    whole = run.folder.plan.read_bytes()

    for damaged in flips(whole):
        run.folder.plan.write_bytes(damaged)
        with pytest.raises(RunError, match=r"run\.json|plan version"):
            read_plan(run.folder)


def test_a_flipped_bit_in_a_failure_leaves_the_run_failed(run):
    for damaged in flips(FAILURE):
        run.folder.failure.write_bytes(damaged)

        assert read_failure(run.folder)
        # A coordinator that meets such a run continues with the others.
        assert UnfinishedRuns(run.storage).find() == []


def test_a_result_that_is_not_text_is_damaged(run):
    run.folder.result.write_bytes(b'{"run": "\xff"}')

    with pytest.raises(RunError, match=r"result\.json is damaged"):
        read_result(run)


@pytest.mark.parametrize("content", [b"{}", b'{"sha256": "x"}', b'{"architecture": "\xff"}', b"["])
def test_a_backbone_whose_description_is_damaged_is_prepared_again(storage, content):
    install_tiny(storage, "random-0")
    (storage.backbone(BACKBONE_ID) / "backbone.json").write_bytes(content)

    with pytest.raises(StorageError, match="has to be prepared again"):
        whole_backbone(storage, BACKBONE_ID)

    assert not has_backbone(storage, BACKBONE_ID)
    with pytest.raises(ModelError, match="is not in storage"):
        whole_backbone(storage, BACKBONE_ID)


def test_a_flipped_bit_in_a_manifest_is_said_with_its_name(run):
    from workers.storage.manifest import read_batches

    whole = run.folder.manifest.read_bytes()
    for damaged in list(flips(whole))[::7]:
        run.folder.manifest.write_bytes(damaged)
        try:
            list(read_batches(run.folder))
        except PoetsError as error:
            assert "manifest.parquet" in str(error)
