"""What stands in report.html, whatever the labels and files of a run are called."""

import base64
import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.builders.datasets import make_data_set
from tests.builders.pictures import COLOURS, make_picture
from tests.builders.reports import data_of, make_prediction, make_results, write_page
from tests.builders.runs import make_run
from workers.errors import ModelError
from workers.processes.heartbeat import no_heartbeat
from workers.reports.page import photographs, thumbnails
from workers.reports.page.page import complete_report
from workers.reports.page.photographs import list_photographs
from workers.storage.names import encode_name


def colour_of(thumbnail):
    with Image.open(io.BytesIO(base64.b64decode(thumbnail))) as image:
        return np.asarray(image.convert("RGB")).mean(axis=(0, 1))


@pytest.fixture
def run(storage, tmp_path):
    return make_run(storage, make_data_set(tmp_path / "photos", per_label=6))


MISTAKE = make_prediction("blue/000.jpg", "test", "blue", "red", 0.8)


def test_the_worst_mistake_comes_first_and_has_its_own_picture(run):
    worse = make_prediction("red/001.jpg", "test", "red", "blue", 0.95)

    data = data_of(write_page(run, make_results(("blue", "red"), [MISTAKE, worse])))

    assert [row[0] for row in data["photographs"]] == ["red/001.jpg", "blue/000.jpg"]
    assert np.allclose(colour_of(data["thumbnails"][0]), COLOURS["red"], atol=12)
    assert np.allclose(colour_of(data["thumbnails"][1]), COLOURS["blue"], atol=12)


def test_photographs_that_are_gone_or_changed_leave_a_gap(run, tmp_path):
    rows = [
        make_prediction(f"red/00{i}.jpg", "test", "red", "blue", 0.9 - i / 10) for i in range(3)
    ]
    (tmp_path / "photos/red/000.jpg").unlink()
    make_picture(tmp_path / "photos/red/001.jpg", COLOURS["green"], seed=77)

    made = data_of(write_page(run, make_results(("blue", "red"), rows)))["thumbnails"]

    assert [bool(thumbnail) for thumbnail in made] == [False, False, True]


def test_no_label_or_name_can_become_html(storage, tmp_path):
    evil = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
    label = evil.replace("/", "\u2215")
    photos = make_data_set(tmp_path / "photos", per_label=6)
    (photos / "red").rename(photos / label)
    run = make_run(storage, photos)
    path = f"{label}/000.jpg"

    page = write_page(
        run, make_results(("blue", label), [make_prediction(path, "test", label, "blue")])
    )

    assert "<img src=x" not in page.read_text("utf-8")
    assert page.read_text("utf-8").count("<script") == 2
    assert data_of(page)["photographs"][0][:3] == [path, "test", label]


def test_links_hold_the_bytes_of_the_name(storage, tmp_path):
    photos = make_data_set(tmp_path / "photos", per_label=6)
    odd = os.fsdecode(b"50% caf\xe9 #1?.jpg")
    (photos / "red/000.jpg").rename(photos / "red" / odd)
    run = make_run(storage, photos)
    row = make_prediction(encode_name(f"red/{odd}"), "test", "red", "blue")

    data = data_of(write_page(run, make_results(("blue", "red"), [row])))

    assert data["link"] + data["photographs"][0][7] == (photos / "red" / odd).as_uri()
    assert np.allclose(colour_of(data["thumbnails"][0]), COLOURS["red"], atol=12)


def test_what_is_listed_is_bounded_and_every_cell_has_its_share(monkeypatch):
    monkeypatch.setattr(photographs, "MOST_LISTED", 1000)
    labels = ("a", "b", "c", "d")
    rows = [
        make_prediction(f"{i}.jpg", "test", labels[i % 4], labels[(i + (i % 9 == 0)) % 4])
        for i in range(3000)
    ]

    results = make_results(labels, rows)
    listing = list_photographs(results.predictions, results.findings)

    cells = {(photograph.label, photograph.predicted) for photograph in listing.photographs}
    assert cells == {(row[2], row[3]) for row in rows}
    assert len(listing.photographs) == 1000
    assert len(listing.mistakes["test"]) == 334  # every ninth of 3,000


def test_thumbnails_end_when_they_are_many_or_take_long(run, monkeypatch):
    paths = [f"red/00{i}.jpg" for i in range(5)]
    monkeypatch.setattr(thumbnails, "MOST", 4)
    assert len(thumbnails.make_thumbnails(run, paths, no_heartbeat)) == 4

    monkeypatch.setattr(thumbnails, "MOST_BYTES", 1)
    assert len(thumbnails.make_thumbnails(run, paths, no_heartbeat)) == 1

    monkeypatch.setattr(thumbnails, "PATIENCE_S", -1)
    assert thumbnails.make_thumbnails(run, paths, no_heartbeat) == []


def test_a_thumbnail_keeps_its_aspect_ratio_and_stands_upright(tmp_path):
    from workers.images.loading import load_thumbnail

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (800, 400), "red").save(tmp_path / "a.jpg", exif=exif, comment=b"secret")

    made = load_thumbnail(str(tmp_path / "a.jpg"), 180, 270)

    assert b"secret" not in made
    with Image.open(io.BytesIO(made)) as image:
        assert image.size == (90, 180)
        assert not image.getexif()


def test_suspects_and_duplicates_bring_photographs_of_the_training_split(run):
    results = make_results(
        ("blue", "red"),
        [MISTAKE],
        suspects=[("red/002.jpg", "training", "red", "blue", 0.9, "neighbours")],
        duplicates=[("red/003.jpg", "blue/000.jpg", "training", "test", "red", "blue", 0.999)],
    )

    data = data_of(write_page(run, results))

    paths = [row[0] for row in data["photographs"]]
    assert paths == ["blue/000.jpg", "red/002.jpg", "red/003.jpg"]
    assert data["suspects"][0] == {
        "photograph": 1, "suggested": "blue", "score": 0.9, "reason": "neighbours",
    }  # fmt: skip
    assert data["duplicates"][0] == {"photograph": 2, "other": 0, "similarity": 0.999}


def test_the_last_step_of_a_long_curve_is_kept(run):
    data = data_of(write_page(run, make_results(("blue", "red"), [MISTAKE], steps=1001)))

    assert data["curve"]["step"][-1] == 10_000
    assert len(data["curve"]["step"]) <= 400


def test_a_run_without_a_model_has_no_report_yet(run):
    with pytest.raises(ModelError, match="holds no model"):
        complete_report(run)


def test_no_part_of_the_page_loads_anything():
    folder = Path(photographs.__file__).parent
    for part in (*folder.glob("*.js"), *folder.glob("*.css"), *folder.glob("*.html")):
        text = part.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|fetch\(|XMLHttpRequest|innerHTML|eval\(|@import|url\(", text)
        assert len(text.splitlines()) <= 260
