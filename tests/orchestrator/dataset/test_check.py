"""What would spoil a run is found before any work, and nothing is touched."""

import itertools
import json
import os
import shutil
import threading
import unicodedata

import pytest

from orchestrator.dataset.check import CheckRequest, check_folder
from orchestrator.dataset.concerns import KINDS, AffectedFile, Concern, warn_of
from orchestrator.dataset.dataset import Source, find_alike_labels
from orchestrator.dataset.inspect_files import inspect_files
from orchestrator.dataset.split import TESTING, TRAINING
from orchestrator.progress import ignore
from tests.builders.datasets import make_data_set, make_shapes
from tests.builders.pictures import make_picture
from tests.builders.runs import compute_run, make_run, train
from workers.errors import DatasetError
from workers.images.files import MAX_BYTES
from workers.images.inspection import Inspection
from workers.settings import Settings
from workers.storage.manifest import read_batches
from workers.storage.plan import TrainingOptions

RED = (220, 30, 30)


@pytest.fixture
def photos(tmp_path):
    """Forty good photographs of two labels: as few as can be without a remark."""
    return make_data_set(tmp_path / "photos", per_label=20)


@pytest.fixture
def check(check_anew, kept_inspector):
    return check_anew


@pytest.fixture
def check_anew(tmp_path):
    """A check with processes of its own."""

    def run(folder, label_file=None, is_quick=False, splits="auto", **options):
        source = Source(folder, label_file, splits)
        request = CheckRequest(source, TrainingOptions(**options), is_quick)
        return check_folder(Settings(tmp_path / "storage"), request, ignore)

    return run


def kinds(found):
    return {kind: count for kind, count in found.counts.items() if count}


def splits_of(storage, photos, **options):
    run = make_run(storage, photos, options=TrainingOptions(**options))
    return {image.path: image.split for batch in read_batches(run.folder) for image in batch.images}


def test_a_clean_folder_has_no_concern_and_is_left_as_it_is(photos, check, tmp_path):
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))

    found = check(photos)

    assert found.concerns == []
    assert not found.spoils
    assert (len(found.dataset.images), found.unreadable, found.dataset.labels) == (
        40,
        0,
        {"blue": 20, "red": 20},
    )
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_unreadable_images_are_named_but_spoil_nothing(photos, check):
    (photos / "red" / "empty.jpg").touch()
    (photos / "red" / "text.jpg").write_text("no image")
    half = (photos / "red" / "000.jpg").read_bytes()
    (photos / "blue" / "half.jpg").write_bytes(half[: len(half) // 2])

    found = check(photos)

    assert kinds(found) == {"unreadable": 3}
    assert not found.spoils
    assert found.unreadable == 3
    assert [(c.files[0].path, c.reason.split(":")[0]) for c in found.concerns] == [
        ("blue/half.jpg", "cannot be decoded"),
        ("red/empty.jpg", "empty file"),
        ("red/text.jpg", "not an image"),
    ]


def test_a_wrong_ending_is_a_remark(photos, check):
    (photos / "red" / "000.jpg").rename(photos / "red" / "000.png")

    found = check(photos)

    assert kinds(found) == {"wrong_endings": 1}
    assert found.concerns[0].text == "'red/000.png': is JPEG"
    assert not found.spoils


def test_copies_are_told_apart_by_label_and_split(photos, check, storage):
    splits = splits_of(storage, photos)
    training = [path for path in splits if splits[path] == TRAINING and path.startswith("red")]
    testing = [path for path in splits if splits[path] == TESTING and path.startswith("red")]
    one, two = photos / training[0], photos / training[1]
    shutil.copy(one, photos / "blue" / "copy.jpg")
    shutil.copy(two, photos / training[2])
    shutil.copy(photos / testing[0], photos / training[3])

    found = check(photos)

    assert kinds(found) == {"two_labels": 1, "two_splits": 1, "copies": 1}
    assert found.spoils
    labels, in_two, same = found.concerns
    assert {file.path for file in labels.files} == {"blue/copy.jpg", training[0]}
    assert {file.labels for file in labels.files} == {("blue",), ("red",)}
    assert {file.split for file in in_two.files} == {TRAINING, TESTING}
    assert [file.path for file in same.files] == sorted([training[1], training[2]])


def test_splits_are_those_that_submit_would_choose(photos, check, storage):
    for number in range(20):
        shutil.copy(photos / "red" / f"{number:03d}.jpg", photos / "red" / f"{number:03d}_b.jpg")
    options = {"testing_percentage": 30.0, "validation_percentage": 0.0, "seed": 7}

    found = check(photos, **options)

    planned = splits_of(storage, photos, **options)
    seen = [file for concern in found.concerns for file in concern.files]
    assert len(seen) == 40
    assert {file.path: file.split for file in seen} == {
        file.path: planned[file.path] for file in seen
    }


def test_empty_files_under_two_labels_are_no_photographs(photos, check):
    (photos / "red" / "empty.jpg").touch()
    (photos / "blue" / "empty.jpg").touch()

    assert kinds(check(photos)) == {"unreadable": 2}


def test_a_label_that_is_too_small_spoils_a_run_and_the_rest_is_looked_at(photos, check):
    make_picture(photos / "green" / "a.jpg", RED, 1)
    (photos / "red" / "000.jpg").rename(photos / "red" / "000.gif")

    found = check(photos)

    assert kinds(found) == {"small_labels": 1, "wrong_endings": 1}
    assert found.concerns[0].text == "'green': has 1"
    assert found.spoils
    assert kinds(check(photos, testing_percentage=0.0, validation_percentage=0.0)) == {
        "few_images": 1,
        "wrong_endings": 1,
    }


def test_a_label_of_which_nothing_is_left_to_train_on_is_what_the_trainer_finds(
    ready_storage, check, tmp_path
):
    photos = make_data_set(tmp_path / "photos", per_label=20)
    for number in range(6):
        make_picture(photos / "green" / f"{number}.jpg", RED, 5)

    found = check(photos)

    assert kinds(found) == {"untaught_labels": 1, "two_splits": 1, "few_images": 1}
    assert found.concerns[0].labels == ("green",)
    run = make_run(ready_storage, photos)
    compute_run(run)
    with pytest.raises(DatasetError, match="Label 'green' has no training image left"):
        train(run)


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        (["Daisy", "daisy", "rose"], [["Daisy", "daisy"]]),
        (["Caf\u00e9", "cafe\u0301"], [["Caf\u00e9", "cafe\u0301"]]),
        (["red rose", "red  rose ", "Red_Rose", "red-rose"], 4),
        (["stra\u00dfe", "STRASSE"], 2),
        (["C", "C++", "c#", "-1", "1", "a_b", "ab", ""], []),
    ],
)
def test_labels_that_look_like_one(labels, groups):
    expected = groups if isinstance(groups, list) else [sorted(labels)]

    assert find_alike_labels(labels) == expected


def test_folders_that_would_be_one_label_spoil_a_run_and_submit_warns(photos, check, storage):
    for number in range(20):
        make_picture(photos / "Red " / f"{number}.jpg", RED, 500 + number)

    found = check(photos)

    assert kinds(found) == {"alike_labels": 1}
    assert found.spoils
    assert found.concerns[0].text == "'Red ' = 'red'"
    warnings = make_run(storage, photos).plan.warnings
    assert warnings[0].startswith("Labels that look like one (1): 'Red ' = 'red'. ")
    assert len(warnings) == 1


def test_names_in_two_unicode_forms_are_two_folders(photos, check):
    name = "g\u00e4nsebl\u00fcmchen"
    for form, number in itertools.product(("NFC", "NFD"), range(20)):
        label = unicodedata.normalize(form, name)
        make_picture(photos / label / f"{number}.jpg", RED, 700 + number + 50 * (form == "NFC"))
    if len(os.listdir(photos)) < 4:
        pytest.skip("this file system takes both forms for one name")

    assert kinds(check(photos)) == {"alike_labels": 1}


def test_what_is_not_opened_or_not_in_a_label_has_a_row(photos, check, storage):
    make_picture(photos / "loose.jpg", RED, 900)
    (photos / "red" / "link.jpg").symlink_to("000.jpg")
    (photos / "linked").symlink_to("red")
    os.mkfifo(photos / "blue" / "pipe.jpg")
    (photos / "green").mkdir()
    (photos / "green" / "notes.txt").write_text("none yet")

    found = check(photos)

    assert kinds(found) == {"unlabelled": 1, "empty_folders": 1, "unopened": 3}
    assert not found.spoils
    assert [concern.text for concern in found.concerns] == [
        "'loose.jpg'",
        "'green'",
        "'blue/pipe.jpg': one of the devices and pipes",
        "'linked': one of the links",
        "'red/link.jpg': one of the links",
    ]
    warnings = make_run(storage, photos).plan.warnings
    assert [warning.split(" (")[0] for warning in warnings] == [
        "Images in no label's folder",
        "Folders without an image",
        "Links, devices and pipes",
    ]


def test_folders_of_a_system_are_neither_labels_nor_empty_folders(photos, check):
    make_picture(photos / "@eaDir" / "000.jpg" / "SYNOPHOTO_THUMB_M.jpg", RED)
    shutil.copytree(photos / "@eaDir", photos / "red" / "@eaDir")
    (photos / "lost+found").mkdir()

    found = check(photos)

    assert found.concerns == []
    assert found.dataset.labels == {"blue": 20, "red": 20}
    assert found.to_json()["ignored"] == {"@eaDir/": 2, "lost+found/": 1}


def test_submit_warns_of_files_whose_size_says_enough(photos, storage):
    (photos / "red" / "empty.jpg").touch()
    with (photos / "red" / "huge.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)

    warnings = make_run(storage, photos).plan.warnings

    assert warnings[0].startswith("Images that cannot be read (1): 'red/empty.jpg'. ")
    assert warnings[1].startswith("Images over the limits (1): 'red/huge.jpg'. ")


def test_a_file_of_too_many_bytes_is_oversized(photos, check):
    with (photos / "red" / "huge.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)

    assert kinds(check(photos)) == {"oversized": 1}


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: folder.mkdir()])
def test_a_missing_or_empty_folder_is_refused_as_submit_refuses_it(check, storage, tmp_path, make):
    make(tmp_path / "none")

    with pytest.raises(DatasetError) as expected:
        make_run(storage, tmp_path / "none")
    with pytest.raises(DatasetError) as found:
        check(tmp_path / "none")

    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("names", [["a.jpg", "b.jpg"], ["only/a.jpg", "only/b.jpg", "only/c.jpg"]])
def test_a_folder_that_submit_refuses_is_looked_at_all_the_same(check, storage, tmp_path, names):
    for number, name in enumerate(names):
        make_picture(tmp_path / "photos" / name, RED, number)
    (tmp_path / "photos" / names[0]).write_bytes(b"")

    found = check(tmp_path / "photos")

    with pytest.raises(DatasetError) as refusal:
        make_run(storage, tmp_path / "photos")
    assert found.concerns[0] == Concern("refused", str(refusal.value))
    assert found.spoils
    assert found.counts["unreadable"] == 1


def test_nothing_readable_spoils_a_run(check, tmp_path):
    for label, number in itertools.product("ab", range(20)):
        (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / label / f"{number}.jpg").write_text("no image")

    found = check(tmp_path / "photos")

    assert kinds(found) == {"nothing_readable": 1, "untaught_labels": 2, "unreadable": 40}
    assert found.spoils


def test_a_label_file_gives_the_labels(check, tmp_path):
    table = make_shapes(tmp_path / "shapes")
    rows = table.read_text().splitlines()
    both = next(row for row in rows if row.endswith("circle;square;triangle")).split(",")[0]
    shutil.copy(tmp_path / "shapes" / both, tmp_path / "shapes" / "first" / "copy.jpg")
    table.write_text("\n".join([*rows, "first/copy.jpg,circle", "first/gone.jpg,circle"]))

    found = check(tmp_path / "shapes", table)

    assert kinds(found) == {"two_labels": 1, "label_file": 1}
    assert {file.labels for file in found.concerns[0].files} == {
        ("circle", "square", "triangle"),
        ("circle",),
    }
    assert "name no image" in found.concerns[1].reason
    assert set(found.dataset.labels) == {"circle", "square", "triangle"}


def test_a_quick_check_finds_what_names_and_headers_tell(photos, check):
    shutil.copy(photos / "red" / "000.jpg", photos / "blue" / "copy.png")
    (photos / "red" / "text.jpg").write_text("no image")
    half = (photos / "red" / "001.jpg").read_bytes()
    (photos / "red" / "half.jpg").write_bytes(half[: len(half) - 100])

    assert kinds(check(photos, is_quick=True)) == {"unreadable": 1, "wrong_endings": 1}
    assert kinds(check(photos)) == {"two_labels": 1, "unreadable": 2, "wrong_endings": 1}


def test_poisonous_images_are_rows_and_all_others_are_looked_at(poison, photos, check_anew):
    for number, name in enumerate(["aborts.jpg", "exits.jpg"]):
        make_picture(photos / "red" / name, RED, 900 + number)

    found = check_anew(photos)

    assert [(concern.files[0].path, concern.reason) for concern in found.concerns] == [
        ("red/aborts.jpg", "killed the process that read it (SIGABRT)"),
        ("red/exits.jpg", "ended the process that read it (exit code 7)"),
    ]
    assert (len(found.dataset.images), found.unreadable) == (42, 2)


@pytest.mark.data
def test_awkward_files(data, check):
    found = check(data / "awkward")

    assert len(found.dataset.images) == 77
    assert found.counts["oversized"] == 3
    assert found.counts["unreadable"] + 3 == found.unreadable > 15
    assert [c.text for c in found.concerns if c.kind == "wrong_endings"] == [
        "'really_jpeg.png': is JPEG"
    ]
    # Nine names of one good photograph.
    (copies,) = (concern for concern in found.concerns if concern.kind == "copies")
    assert len(copies.files) == 9
    assert copies.subject == "'-rf.jpg' = '.hidden.jpg' = 'UPPER.JPG' and 6 more"


def test_many_processes_answer_for_every_file_once(tmp_path):
    paths = [str(make_picture(tmp_path / f"{n}.jpg", RED, n)) for n in range(20)]
    paths.insert(7, str(tmp_path / "gone.jpg"))

    found = dict(inspect_files(paths, processes=3))

    assert sorted(found) == list(range(21))
    assert [place for place, seen in found.items() if seen.error] == [7]
    assert found[7] == Inspection(error="cannot be opened: No such file or directory")
    assert len({seen.digest for seen in found.values()}) == 21


def test_files_that_nobody_asks_for_any_more_are_left(tmp_path):
    threads = threading.active_count()
    endless = (str(tmp_path / f"{number}.jpg") for number in itertools.count())

    found = inspect_files(endless, processes=2)
    next(found)
    found.close()  # type: ignore[attr-defined]

    assert threading.active_count() == threads


def test_a_folder_that_vanishes_is_not_a_thousand_bad_images(photos, kept_inspector, tmp_path):
    def remove(progress):
        if progress.phase == "checking":
            shutil.rmtree(photos, ignore_errors=True)

    with pytest.raises(DatasetError, match="vanished during the check"):
        check_folder(
            Settings(tmp_path / "storage"), CheckRequest(Source(photos), TrainingOptions()), remove
        )


def test_json_has_the_same_keys_for_every_kind(photos, check):
    (photos / "red" / "empty.jpg").touch()

    found = json.loads(json.dumps(check(photos).to_json()))

    assert list(found["counts"]) == list(KINDS)
    assert found["concerns"] == [
        {
            "kind": "unreadable",
            "spoils": False,
            "reason": "empty file",
            "labels": [],
            "files": [{"path": "red/empty.jpg", "labels": ["red"], "split": TRAINING}],
        }
    ]


def test_warnings_name_a_few_and_count_the_rest():
    concerns = [Concern("unreadable", files=(AffectedFile(f"{n}.jpg"),)) for n in range(1200)]

    assert warn_of(concerns)[0].startswith(
        "Images that cannot be read (1,200): '0.jpg', '1.jpg', '2.jpg' and 1,197 more. "
    )
    assert warn_of([]) == []


def test_a_heading_begins_with_a_capital_and_keeps_the_others():
    assert KINDS["refused"].heading == "Refusals"
    assert KINDS["profiles"].heading == "Images with a colour profile other than sRGB"
