"""The files of the embedding projector: every point with its own bottleneck, label and picture."""

import io

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from tests.builders.datasets import make_data_set
from tests.builders.pictures import COLOURS, make_picture
from tests.builders.runs import compute_run, make_run, train
from workers.bottlenecks.gathering import gather_bottlenecks
from workers.reports import tensorboard_projector
from workers.reports.tensorboard_projector import has_projector, write_projector


@pytest.fixture
def photos(tmp_path):
    return make_data_set(tmp_path / "photos")


@pytest.fixture
def run(ready_storage, photos):
    make_picture(photos / "red" / "broken.jpg", (200, 0, 0)).write_bytes(b"broken")
    run = make_run(ready_storage, photos)
    compute_run(run)
    train(run)
    return run


def read(run):
    """Return bottlenecks, rows and thumbnails as the projector reads them."""
    config = text_format.Parse(
        (run.folder.summaries / "projector_config.pbtxt").read_text(), ProjectorConfig()
    )
    (embedding,) = config.embeddings
    points, size = embedding.tensor_shape
    content = (run.folder.summaries / embedding.tensor_path).read_bytes()
    lines = (run.folder.summaries / embedding.metadata_path).read_text().splitlines()
    rows = [line.split("\t") for line in lines]
    width, height = embedding.sprite.single_image_dim
    sprite = Image.open(
        io.BytesIO((run.folder.summaries / embedding.sprite.image_path).read_bytes())
    )
    across = sprite.width // width
    assert across * width == across * height == sprite.width == sprite.height
    thumbnails = [
        np.asarray(sprite)[y : y + height, x : x + width]
        for y in range(0, sprite.height, height)
        for x in range(0, sprite.width, width)
    ]
    return np.frombuffer(content, "<f4").reshape(points, size), rows, thumbnails[:points]


def test_each_point_has_its_own_bottleneck_label_and_picture(ready_storage, run):
    assert not has_projector(run.folder)

    assert write_projector(run) == 24

    assert has_projector(run.folder)
    bottlenecks, rows, thumbnails = read(run)
    assert rows[0] == ["label", "split", "path"]
    gathered = gather_bottlenecks(run, lambda: None)
    expected = {
        path: (split, bottleneck)
        for split, examples in gathered.examples.items()
        for path, bottleneck in zip(examples.paths, examples.bottlenecks, strict=True)
    }
    assert len(rows) - 1 == len(expected) == 24
    points = zip(bottlenecks, rows[1:], thumbnails, strict=True)
    for bottleneck, (label, split, path), thumbnail in points:
        assert path.split("/")[0] == label
        assert split == expected[path][0]
        assert np.array_equal(bottleneck, expected[path][1])
        assert np.abs(thumbnail.mean(axis=(0, 1)) - COLOURS[label]).max() < 12


def test_a_photograph_that_is_gone_gets_a_grey_thumbnail(ready_storage, run, photos):
    (photos / "blue" / "003.jpg").unlink()

    write_projector(run)

    _, rows, thumbnails = read(run)
    place = [row[2] for row in rows[1:]].index("blue/003.jpg")
    assert np.abs(thumbnails[place].astype(int) - 128).max() < 4


def test_many_images_are_thinned_evenly(ready_storage, run, monkeypatch):
    monkeypatch.setattr(tensorboard_projector, "MAX_POINTS", 10)

    assert write_projector(run) in (9, 10)

    _, rows, _ = read(run)
    paths = [row[2] for row in rows[1:]]
    assert len(set(paths)) == len(paths)
    assert abs(sum(path.startswith("red") for path in paths) - 5) <= 1
    write_projector(run)
    assert read(run)[1] == rows


def test_names_with_tabs_and_line_breaks_stay_in_their_row(ready_storage, photos):
    make_picture(photos / "red" / "a\tb\nc.jpg", COLOURS["red"], 77)
    run = make_run(ready_storage, photos)
    compute_run(run)
    train(run)

    assert write_projector(run) == 25

    assert ["red", "a b c.jpg"] in [[row[0], row[2].split("/")[1]] for row in read(run)[1][1:]]


def test_bottlenecks_that_are_gone_are_left_out(ready_storage, run):
    for path in ready_storage.root.glob("bottlenecks/*/*/*.arrow"):
        path.unlink()

    assert write_projector(run) == 0

    assert not has_projector(run.folder)
