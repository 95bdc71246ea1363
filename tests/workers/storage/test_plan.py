"""run.json: read as it was written, and refused when it is not whole."""

import json
import os
from dataclasses import replace

import pytest

from tests.builders.runs import make_plan
from workers.errors import RunError
from workers.storage.layout import RunFolder, Storage
from workers.storage.plan import LabellingOptions, TrainingOptions, list_runs, read_plan

PLAN = make_plan(root="/photos/雛菊", images=100, batches=4, cached=20, batch_size=32)
TRAINING = replace(
    PLAN,
    labels=("blue", "red"),
    ignored={".txt": 3},
    training=TrainingOptions(seed=7, split_exceptions={"red/a.jpg": "training"}),
)
LABELLING = replace(PLAN, labelling=LabellingOptions("/m", "/out.csv", "csv", 3, True))


def write_plan(storage, name, plan=TRAINING):
    folder = storage.run(name)
    folder.path.mkdir(parents=True)
    folder.plan.write_bytes(plan.to_json())
    return folder


@pytest.mark.parametrize(("plan", "kind"), [(TRAINING, "train"), (LABELLING, "label")])
def test_a_plan_is_read_as_it_was_written(storage, plan, kind):
    found = read_plan(write_plan(storage, "run", plan))

    assert found == plan
    assert found.kind == kind


def test_a_run_that_does_not_exist_is_refused_with_what_to_do(storage):
    with pytest.raises(RunError, match="There is no run 'nobody'"):
        read_plan(storage.run("nobody"))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"null", b'{"version": 1}'])
def test_a_damaged_plan_is_refused(storage, content):
    folder = write_plan(storage, "run")
    folder.plan.write_bytes(content)

    with pytest.raises(RunError, match=r"damaged|cannot be read"):
        read_plan(folder)


def test_a_plan_that_is_a_pipe_or_a_link_is_refused_at_once(storage, tmp_path):
    folder = write_plan(storage, "run")
    folder.plan.rename(tmp_path / "elsewhere")
    folder.plan.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="it is a link"):
        read_plan(folder)

    folder.plan.unlink()
    os.mkfifo(folder.plan)
    with pytest.raises(RunError, match="it is not a regular file"):
        read_plan(folder)


def test_a_plan_of_another_version_is_refused(storage):
    folder = write_plan(storage, "run", replace(TRAINING, version=2))

    with pytest.raises(RunError, match="plan version 2; this poets reads 1"):
        read_plan(folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("images",), "100"),
        (("labels",), "blue"),
        (("training", "steps"), "many"),
        (("training", "split_exceptions"), [1]),
    ],
)
def test_a_plan_with_a_value_of_another_type_is_refused(storage, path, value):
    folder = write_plan(storage, "run")
    content = json.loads(folder.plan.read_text())
    *way, last = path
    within = content[way[0]] if way else content
    within[last] = value
    folder.plan.write_text(json.dumps(content))

    with pytest.raises(RunError, match=rf"is damaged.*{last}"):
        read_plan(folder)


def test_a_key_that_no_plan_has_is_damage(storage):
    folder = write_plan(storage, "run")
    folder.plan.write_text(json.dumps({**json.loads(folder.plan.read_text()), "new": 1}))

    with pytest.raises(RunError, match="damaged: there is no key 'new'"):
        read_plan(folder)


def test_runs_are_listed_oldest_first(storage):
    for age, name in enumerate(["newest", "middle", "oldest"]):
        folder = write_plan(storage, name)
        os.utime(folder.plan, (1000 - age, 1000 - age))

    assert [folder.name for folder in list_runs(storage.runs)] == ["oldest", "middle", "newest"]


def test_folders_without_a_plan_are_no_runs(storage):
    (storage.runs / "empty").mkdir(parents=True)

    assert list_runs(storage.runs) == []
    assert list_runs(Storage(storage.root / "nowhere").runs) == []


def test_a_plan_is_readable_text(storage):
    assert "雛菊" in RunFolder(write_plan(storage, "run").path).plan.read_text("utf-8")
