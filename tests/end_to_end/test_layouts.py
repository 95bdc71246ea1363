"""Data sets as they are found on disks: what is in them besides photographs in label folders."""

import pytest

from tests.builders.backbones import TINY_OPTIONS
from tests.builders.datasets import make_data_set
from tests.builders.pictures import COLOURS, make_picture
from tests.builders.programs import poets, poets_json
from tests.builders.reports import read_table

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]


def test_thumbnails_of_a_nas_are_neither_trained_on_nor_labelled_but_named(photos, tmp_path):
    for number, folder in enumerate((photos, photos / "red", photos / "blue")):
        thumbnail = folder / "@eaDir" / "000.jpg" / "SYNOPHOTO_THUMB_M.jpg"
        make_picture(thumbnail, COLOURS["red"], 500 + number)
    (photos / "red" / "Thumbs.db").touch()

    _, err = poets("submit-dataset", photos, *TINY_OPTIONS)
    assert "80 images, 2 labels" in err
    assert "ignored: 4 (@eaDir/ 3, Thumbs.db 1)" in err

    _, err = poets("classify-dir", photos, "-o", tmp_path / "labels.csv")
    assert "80 images, ignored: 4 (@eaDir/ 3, Thumbs.db 1)" in err
    assert len(read_table(tmp_path / "labels.csv")) == 80


def test_folders_of_splits_are_said_first_and_kept_by_every_later_run(tmp_path):
    for split, pictures in (("train", 20), ("val", 23), ("test", 26)):
        make_data_set(tmp_path / "photos" / split, pictures)
    for number in range(20):  # the pictures that several splits would share
        for label in ("blue", "red"):
            for split in ("val", "test"):
                (tmp_path / "photos" / split / label / f"{number:03d}.jpg").unlink()
    for number in range(20, 23):
        for label in ("blue", "red"):
            (tmp_path / "photos" / "test" / label / f"{number:03d}.jpg").unlink()

    out, err = poets("submit-dataset", tmp_path / "photos", *TINY_OPTIONS, "--name", "spring")
    again = poets_json("train", "spring", "--class-weight", "balanced")
    (tmp_path / "photos" / "train" / "red" / "half.jpg").write_bytes(b"broken")
    poets("submit-dataset", tmp_path / "photos", *TINY_OPTIONS, "--name", "summer", "-q")
    make_picture(tmp_path / "photos" / "train" / "red" / "half.jpg", COLOURS["red"], 77)
    retried = poets_json("retry", "summer")

    said = err.splitlines()
    labels = said.index("  labels  2: blue 26, red 26")
    assert said[labels + 1] == (
        "  splits  40 training, 6 validation, 6 testing "
        "(training from train, validation from val, testing from test)"
    )
    assert not any("computing" in line or "preparing" in line for line in said[:labels])
    assert "40 training, 6 validation, 6 testing" in out
    for result, training in ((again, 40), (retried, 41)):
        assert result["labels"] == ["blue", "red"]
        counts = (result["training"], result["validation"], result["testing"])
        assert counts == (training, 6, 6)


def test_a_data_set_of_links_is_trained_on_retried_and_labelled_when_links_are_followed(
    photos, tmp_path
):
    linked = tmp_path / "linked"
    (linked / "red").mkdir(parents=True)
    for path in (photos / "red").iterdir():
        (linked / "red" / path.name).symlink_to(path)
    (linked / "blue").symlink_to(photos / "blue")
    half = photos / "red" / "000.jpg"
    whole = half.read_bytes()
    half.write_bytes(whole[: len(whole) // 2])

    _, refused = poets("submit-dataset", linked, *TINY_OPTIONS, exit_code=1)
    first = poets_json("submit-dataset", linked, *TINY_OPTIONS, "--name", "a", "--follow-links")
    half.write_bytes(whole)
    again = poets_json("retry", "a")
    labels = tmp_path / "labels.csv"
    poets("classify-dir", linked, "-o", labels, "--follow-links")
    make_picture(linked / "one.jpg", COLOURS["red"], 700)
    _, said = poets("classify-dir", linked, "-o", tmp_path / "one.csv")

    assert "but 41 links, which are not followed" in refused
    assert "Follow them with --follow-links" in refused
    assert (first["images"], first["quarantined"]) == (80, 1)
    assert (again["repaired"], again["quarantined"]) == (1, 0)
    assert [row["status"] for row in read_table(labels)] == ["ok"] * 80
    assert "1 images, ignored: 41 (links 41)" in said
    assert "41 links were not followed; --follow-links follows them." in said
