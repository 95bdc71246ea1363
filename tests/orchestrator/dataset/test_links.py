"""Links are followed when asked for, each file once; if not, no label is lost in silence."""

import shutil

import pytest

from orchestrator.bad_images import BadImage, copy_images
from orchestrator.dataset.check import CheckRequest, check_folder
from orchestrator.dataset.dataset import Source, open_dataset
from orchestrator.dataset.scan import scan_folder, stream_folder
from orchestrator.jobs.submit import plan_retraining
from orchestrator.progress import ignore
from tests.builders.datasets import make_data_set
from tests.builders.pictures import make_picture
from tests.builders.runs import compute_run, images_of, make_run, train
from workers.bottlenecks.batches import image_path
from workers.errors import LinksNotFollowedError
from workers.heads.model_folder import read_card
from workers.settings import Settings
from workers.storage.plan import TrainingOptions

RED = (220, 30, 30)


@pytest.fixture
def photos(tmp_path):
    return make_data_set(tmp_path / "photos", per_label=20)


@pytest.fixture
def linked(tmp_path, photos):
    """The same data set, of which one label is a folder and the images of the other are links."""
    linked = tmp_path / "linked"
    (linked / "red").mkdir(parents=True)
    for path in (photos / "red").iterdir():
        (linked / "red" / path.name).symlink_to(path)
    (linked / "blue").symlink_to(photos / "blue")
    return linked


def paths(folder, follows_links=True):
    found = [image.path for image in stream_folder(folder, ignore, follows_links).images]
    assert found == [image.path for image in scan_folder(folder, ignore, follows_links).images]
    return found


def open_linked(storage, folder, follows_links=True):
    return open_dataset(storage, Source(folder, None, "auto", follows_links), TrainingOptions())


def test_links_to_files_and_folders_are_followed_and_keep_their_own_paths(storage, photos, linked):
    plain = open_linked(storage, photos)
    found = open_linked(storage, linked)

    assert [image.path for image in found.images] == [image.path for image in plain.images]
    assert [image.size for image in found.images] == [image.size for image in plain.images]
    assert found.labels == {"blue": 20, "red": 20}
    assert found.splits == plain.splits
    assert not found.refusals


def test_circles_end_and_links_that_lead_nowhere_are_counted(tmp_path, photos):
    (photos / "around").symlink_to(photos)
    (photos / "up").symlink_to(tmp_path)
    (photos / "red" / "loop.jpg").symlink_to("loop.jpg")
    (photos / "red" / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "back").symlink_to(tmp_path / "outside")
    (tmp_path / "outside" / "home").symlink_to(photos / "red")
    make_picture(tmp_path / "outside" / "new.jpg", RED, 900)

    scan = scan_folder(photos, ignore, follows_links=True)

    assert [image.path for image in scan.images if "/0" not in image.path] == ["up/outside/new.jpg"]
    assert len(scan.images) == 41
    assert scan.ignored["links that lead nowhere"] == 2


def test_a_file_that_is_in_the_folder_keeps_its_own_path_and_is_there_once(photos):
    (photos / "a").mkdir()
    (photos / "a" / "again.jpg").symlink_to(photos / "red" / "000.jpg")
    (photos / "b").symlink_to("red")

    scan = scan_folder(photos, ignore, follows_links=True)

    assert {image.label for image in scan.images} == {"blue", "red"}
    assert len(scan.images) == 40
    assert scan.ignored == {"links to what is found anyway": 2}
    assert scan.repeats == [("a/again.jpg", "red/000.jpg")]


def test_of_several_links_to_one_file_the_first_path_is_kept(tmp_path, photos):
    for name in ("z/1.jpg", "b/2.jpg", "b/1.jpg"):
        (tmp_path / "links" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "links" / name).symlink_to(photos / "red" / "000.jpg")

    assert paths(tmp_path / "links") == ["b/1.jpg"]


def test_a_folder_within_a_linked_folder_is_there_once(tmp_path):
    make_picture(tmp_path / "far" / "in" / "a.jpg", RED, 1)
    make_picture(tmp_path / "far" / "b.jpg", RED, 2)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a").symlink_to(tmp_path / "far" / "in")
    (tmp_path / "photos" / "b").symlink_to(tmp_path / "far")

    assert paths(tmp_path / "photos") == ["a/a.jpg", "b/b.jpg"]


def test_links_into_a_hidden_folder_of_the_data_set_are_followed(tmp_path):
    """As git-annex and DVC keep files."""
    folder = tmp_path / "photos"
    for label in ("blue", "red"):
        make_picture(folder / ".git" / "annex" / label / "key.jpg", RED)
        (folder / label).mkdir()
        (folder / label / "a.jpg").symlink_to(f"../.git/annex/{label}/key.jpg")

    assert paths(folder) == ["blue/a.jpg", "red/a.jpg"]


def test_a_link_without_ending_is_an_image_if_its_file_begins_like_one(tmp_path, photos):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "one").symlink_to(photos / "red" / "000.jpg")

    assert paths(tmp_path / "links") == ["one"]


def test_one_file_under_two_labels_spoils_a_run(tmp_path, photos):
    (photos / "blue" / "also.jpg").symlink_to(photos / "red" / "000.jpg")

    found = check_folder(
        Settings(tmp_path / "storage"),
        CheckRequest(Source(photos, None, "auto", True), TrainingOptions(), True),
        ignore,
    )

    assert [concern.kind for concern in found.concerns] == ["two_labels"]
    assert found.concerns[0].text.startswith("'blue/also.jpg' = 'red/000.jpg': one file")
    assert found.spoils


@pytest.mark.parametrize("is_quick", [True, False])
def test_a_check_reads_what_links_lead_to(tmp_path, linked, photos, is_quick, kept_inspector):
    (photos / "red" / "000.jpg").write_bytes(b"")
    source = Source(linked, None, "auto", True)

    found = check_folder(
        Settings(tmp_path / "storage"), CheckRequest(source, TrainingOptions(), is_quick), ignore
    )

    assert [(c.kind, c.subject) for c in found.concerns] == [("unreadable", "'red/000.jpg'")]


@pytest.mark.parametrize(("remove", "lost"), [
    (None, "'blue', 'red'"),
    ("red", "'blue'"),
    ("blue", "'red'"),
])  # fmt: skip
def test_without_following_a_label_that_would_be_lost_is_refused(
    storage, photos, linked, remove, lost
):
    if remove == "red":
        shutil.rmtree(linked / "red")
        shutil.copytree(photos / "red", linked / "red")
    elif remove:
        (linked / "blue").unlink()
        shutil.copytree(photos / "blue", linked / "blue")
    make_picture(linked / "green" / "a.jpg", RED, 900)

    found = open_linked(storage, linked, follows_links=False)

    with pytest.raises(LinksNotFollowedError, match=f"All images of {lost} in .* behind links"):
        found.check_usable()


def test_a_folder_of_a_split_that_is_a_link_would_be_lost(storage, tmp_path, photos):
    shutil.copytree(photos, tmp_path / "all" / "train")
    (tmp_path / "all" / "test").symlink_to(photos)

    found = open_linked(storage, tmp_path / "all", follows_links=False)

    with pytest.raises(LinksNotFollowedError, match="All images of 'test'"):
        found.check_usable()


def test_links_alone_are_named_as_the_reason(storage, photos, tmp_path):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "red").symlink_to(photos / "red")

    with pytest.raises(LinksNotFollowedError, match=r"no images in .* but 1 link, which is"):
        open_linked(storage, tmp_path / "links", follows_links=False)


def test_links_beside_images_and_to_no_image_lose_no_label(storage, photos, tmp_path):
    (photos / "red" / "more.jpg").symlink_to(photos / "blue" / "000.jpg")
    (photos / "again").symlink_to("red")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    (photos / "texts").symlink_to(tmp_path / "texts")
    (photos / "gone").symlink_to("nowhere")

    assert not open_linked(storage, photos, follows_links=False).refusals


def test_a_run_on_links_is_the_run_on_the_files_and_so_are_the_runs_on_its_images(
    ready_storage, photos, linked
):
    plain = make_run(ready_storage, photos, "plain")
    run = make_run(ready_storage, linked, "linked", follows_links=True)
    compute_run(run)
    train(run)
    again = plan_retraining(
        Settings(ready_storage.root), "linked", {}, name=None, detach=False, on_progress=ignore
    )

    assert read_card(run.folder.model).counts["quarantined"] == 0
    assert [row.path for row in images_of(run)] == [row.path for row in images_of(plain)]
    assert again.plan.follows_links
    assert not plain.plan.follows_links
    assert b"follows_links" not in plain.plan.to_json()
    first = images_of(run)[0]
    assert image_path(run.plan, first) == str(photos / "blue" / "000.jpg")


def test_an_image_behind_a_link_is_copied_out_of_quarantine(ready_storage, linked, tmp_path):
    plan = make_run(ready_storage, linked, follows_links=True).plan
    bad = [BadImage(f"{label}/000.jpg", label, "half") for label in ("blue", "red")]

    assert copy_images(plan, bad, tmp_path / "bad", ignore) == ["copied", "copied"]
