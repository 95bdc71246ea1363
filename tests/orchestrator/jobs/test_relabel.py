"""Corrected labels: a new run over the same images, and every bad line refused."""

import pytest

from orchestrator.jobs.relabel import plan_relabelling
from orchestrator.progress import ignore
from tests.builders.datasets import make_data_set
from tests.builders.runs import images_of, make_run
from workers.errors import DatasetError, LabellingJobError
from workers.settings import Settings
from workers.storage.plan import TrainingOptions


@pytest.fixture
def run(storage, tmp_path):
    make_data_set(tmp_path / "photos", per_label=12, labels=("blue", "red"))
    return make_run(storage, tmp_path / "photos")


def relabel(run, content, name=None):
    file = run.storage.root.parent / "corrections.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    settings = Settings(run.storage.root)
    return plan_relabelling(settings, run.name, file, name=name, detach=False, on_progress=ignore)


def labels_of(run):
    return {row.path: row.label for row in images_of(run)}


def test_a_correction_overrides_the_folder_and_nothing_else_changes(run, tmp_path):
    before = {path: path.stat() for path in (tmp_path / "photos").rglob("*")}

    done = relabel(run, "path,label\nred/003.jpg,blue\n")

    assert (done.changed, done.unchanged) == (1, 0)
    assert labels_of(done.run) == labels_of(run) | {"red/003.jpg": "blue"}
    assert [row.split for row in images_of(done.run)] == [row.split for row in images_of(run)]
    assert done.run.plan.parent == run.name
    assert {path: path.stat() for path in (tmp_path / "photos").rglob("*")} == before


def test_a_correction_stays_in_runs_on_that_run(run):
    first = relabel(run, "path,label\nred/003.jpg,blue\n", name="first").run

    second = relabel(first, "path,label\nred/004.jpg,blue\n").run

    assert labels_of(second) == labels_of(run) | {"red/003.jpg": "blue", "red/004.jpg": "blue"}


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfpath;label\r\nred/003.jpg;blue\r\n",
        b"path\tlabel\r\nred/003.jpg\tblue\r\n",
        b"path,label,was,score\nred/003.jpg,blue,red,0.91\n",
        b"label,path\nblue,red/003.jpg",
        b"path,label\n./red/003.jpg, blue \n\n,\n",
        b'"path","label"\n"red/003.jpg","blue"\n',
        b"path;label;\r\nred/003.jpg;blue;\r\n;;\r\n".replace(b";label;", b";label;note"),
    ],
)
def test_what_a_spreadsheet_makes_of_it_is_read(run, content):
    assert relabel(run, content).changed == 1


def test_a_label_that_is_right_already_is_counted(run):
    done = relabel(run, "path,label\nred/003.jpg,blue\nred/004.jpg,red\n")

    assert (done.changed, done.unchanged) == (1, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "Line 1 .* needs one column 'path'"),
        ("path,labels\nred/003.jpg,blue\n", "Line 1 .* needs one column 'label'; it has 'path'"),
        ("path,label,label\n", "Line 1 .* needs one column 'label'"),
        (
            "path,label\nred/003.jpg,green\n",
            "Line 2 .* label 'green', and the run has 'blue', 'red'",
        ),
        ("path,label\nred/003.jpg,\n", "Line 2 .* label ''"),
        ("path,label\nred/003.jpg,Blue\n", "Line 2 .* label 'Blue'"),
        ("path,label\n\nred/999.jpg,blue\n", "Line 3 .* 'red/999.jpg', which is no image of run"),
        ("path,label\n/red/003.jpg,blue\n", "which is no image of run"),
        ("path,label\n../red/003.jpg,blue\n", "which is no image of run"),
        ("path,label\n,blue\n", "Line 2 .* an empty path"),
        (
            "path,label\nred/003.jpg,blue\nred/004.jpg,blue\n./red/003.jpg,red\n",
            "Line 4 .* names 'red/003.jpg', which line 2 names too",
        ),
        ("path,label\nred/003.jpg\n", "Line 2 .* has 1 instead of 2 cells"),
        ("path,label\nred/003.jpg,blue,x\n", "Line 2 .* has 3 instead of 2 cells"),
        ("path,label\nred/003.jpg,red\n", "changes no label"),
        ("path,label\n", "changes no label"),
        (b"path,label\nr\xe9d/003.jpg,red\n", "Line 2 .* not UTF-8"),
        (
            "path,label\n" + "".join(f"red/{i:03d}.jpg,blue\n" for i in range(12)),
            "No training image would have the label 'red'",
        ),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused_and_nothing_is_planned(run, content, message):
    with pytest.raises(DatasetError, match=message):
        relabel(run, content)

    assert [folder.name for folder in run.storage.runs.iterdir()] == ["run"]


def test_sets_of_labels_are_corrected_too(storage, tmp_path):
    photos = make_data_set(tmp_path / "photos", per_label=12, labels=("blue", "red"))
    rows = [f"{path.relative_to(photos)},{path.parent.name};any" for path in photos.rglob("*.jpg")]
    (tmp_path / "l.csv").write_text("path,labels\n" + "\n".join(rows))
    run = make_run(storage, photos, options=TrainingOptions(), label_file=tmp_path / "l.csv")

    done = relabel(run, 'path;label\nred/003.jpg;"blue;any"\nred/004.jpg;any|red\n')

    assert (done.changed, done.unchanged) == (1, 1)
    assert labels_of(done.run)["red/003.jpg"] == '["any", "blue"]'


def test_a_labelling_job_has_no_labels_to_correct(run, tmp_path):
    from tests.builders.runs import make_plan
    from workers.storage.plan import LabellingOptions

    job = run.storage.run("job")
    job.path.mkdir()
    plan = make_plan(name="job", training=None, labelling=LabellingOptions("m", "o.csv", "csv", 1))
    job.plan.write_bytes(plan.to_json())

    with pytest.raises(LabellingJobError):
        plan_relabelling(
            Settings(run.storage.root), "job", tmp_path, name=None, detach=False, on_progress=ignore
        )
