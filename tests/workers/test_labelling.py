"""Labels for a few files at once, in order, whatever the files are."""

import hashlib
import os
from dataclasses import replace

import numpy as np
import pytest

from tests.builders.backbones import ARCHITECTURE, BACKBONE, BACKBONE_ID, TINY_FILE, WEIGHTS
from tests.builders.datasets import make_data_set
from tests.builders.pictures import make_picture
from workers.backbones import table
from workers.backbones.loading import open_backbone
from workers.backbones.store import has_backbone
from workers.backbones.table import find_spec, name_backbone
from workers.backbones.weights import seed_of
from workers.bottlenecks.requests import ImageResult
from workers.errors import ModelError, OtherPoetsError
from workers.heads.head import Head
from workers.heads.model_backbone import check_backbone, install_backbone
from workers.heads.model_folder import (
    Model,
    ModelCard,
    Preprocessing,
    load_model,
    save_model,
)
from workers.labelling import classify_files, predict_results

LABELS = ("cat", "dog", "owl")


@pytest.fixture
def model(tmp_path):
    """A model with the tiny backbone and a random head."""
    card = ModelCard(
        name="run",
        created="",
        architecture=ARCHITECTURE,
        backbone_id=BACKBONE_ID,
        weights=WEIGHTS,
        backbone_sha256=hashlib.sha256(TINY_FILE.read_bytes()).hexdigest(),
        preprocessing=Preprocessing((128, 128), "tf"),
        bottleneck_size=256,
        labels=LABELS,
        counts={},
        metrics={},
        training={},
        versions={},
    )
    weights = np.random.default_rng(0).normal(size=(256, 3)).astype(np.float32)
    save_model(tmp_path / "model", card, Head(weights, np.zeros(3, np.float32)), TINY_FILE, {})
    return tmp_path / "model"


@pytest.fixture
def pictures(tmp_path):
    make_data_set(tmp_path / "photos", per_label=10)
    return [str(path) for path in sorted((tmp_path / "photos").glob("*/*.jpg"))]


def classify(model, paths, top_k=3):
    return list(classify_files(model, paths, top_k))


def test_every_file_gets_ranked_labels_in_the_order_given(model, pictures):
    found = classify(model, pictures[::-1])

    assert [prediction.path for prediction in found] == pictures[::-1]
    for prediction in found:
        scores = [score for _, score in prediction.ranked]
        assert {label for label, _ in prediction.ranked} == set(LABELS)
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=1e-5)
    assert len({prediction.ranked[0][1] for prediction in found}) > 10


def test_only_the_best_labels_are_given(model, pictures):
    assert [len(p.ranked) for p in classify(model, pictures[:3], top_k=2)] == [2, 2, 2]


def test_failed_files_keep_their_place_and_reason(model, pictures, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"broken")
    broken, gone = str(tmp_path / "broken.jpg"), str(tmp_path / "gone.jpg")
    paths = [gone, *pictures[:9], broken, pictures[9], gone]

    found = classify(model, paths)

    assert [prediction.path for prediction in found] == paths
    assert found[0].error == found[12].error == "cannot be opened: No such file or directory"
    assert found[10].error == "not an image: no known format"
    good = [prediction for prediction in found if not prediction.error]
    for one, other in zip(good, classify(model, pictures[:10]), strict=True):
        assert one.path == other.path
        assert dict(one.ranked) == pytest.approx(dict(other.ranked), abs=1e-4)


def test_only_failed_files_give_only_reasons(model, tmp_path):
    found = classify(model, [str(tmp_path / "gone.jpg")])

    assert [prediction.ranked for prediction in found] == [()]
    assert found[0].error


@pytest.mark.parametrize("count", [1, 3, 8, 9])
def test_the_scores_of_a_file_do_not_depend_on_the_others(model, pictures, count):
    expected = classify(model, pictures)

    assert classify(model, pictures[:count]) == expected[:count]


def test_a_link_that_the_user_names_is_followed(model, pictures, tmp_path):
    (tmp_path / "link.jpg").symlink_to(pictures[0])

    (found,) = classify(model, [str(tmp_path / "link.jpg")])

    assert found.path == str(tmp_path / "link.jpg")
    assert found.ranked == classify(model, pictures[:1])[0].ranked


def test_a_name_that_is_no_text_can_be_written_anywhere(model, tmp_path):
    name = os.fsdecode(bytes(tmp_path) + b"/\xff.jpg")
    make_picture(tmp_path / "a.jpg", (1, 2, 200))
    os.rename(tmp_path / "a.jpg", name)

    (found,) = classify(model, [name])

    assert found.path == f"{tmp_path}/\\xff.jpg"
    assert found.error is None


def test_no_files_give_no_labels(model):
    assert classify(model, []) == []


def test_an_altered_backbone_is_refused(model, pictures):
    path = model / "backbone.tflite"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()  # it may be the very file that storage has
    path.write_bytes(content)

    with pytest.raises(ModelError, match="was altered; it is not used"):
        classify(model, pictures)


def test_a_missing_backbone_is_refused_with_what_to_do(model, pictures):
    (model / "backbone.tflite").unlink()

    with pytest.raises(ModelError, match="copy the whole folder"):
        classify(model, pictures)


def test_a_folder_without_a_model_is_refused(tmp_path, pictures):
    with pytest.raises(ModelError, match="holds no model"):
        classify(tmp_path, pictures)


def test_each_result_gets_the_prediction_of_its_own_bottleneck(model):
    card = load_model(model).card
    head = Head(np.zeros((256, 3), np.float32), np.zeros(3, np.float32))
    head.weights[:3] = np.eye(3) * 50
    bottlenecks = np.eye(256, dtype=np.float32)[[2, 0, 1]]
    results = [
        ImageResult(bottlenecks[0], b"2"),
        ImageResult(None, None, "gone"),
        ImageResult(bottlenecks[1], b"0"),
        ImageResult(bottlenecks[2], b"1"),
    ]

    found = predict_results(Model(card, head), ["a", "b", "c", "d"], results, 1)

    assert [p.path for p in found] == ["a", "b", "c", "d"]
    assert [p.ranked[0][0] if p.ranked else p.error for p in found] == ["owl", "gone", "cat", "dog"]


def test_an_image_is_unsure_below_the_threshold_of_its_best_label(model):
    card = load_model(model).card
    head = Head(np.zeros((256, 3), np.float32), np.zeros(3, np.float32))
    head.weights[:3] = np.eye(3) * 3  # a best score of 0.9094
    results = [ImageResult(row, b"") for row in np.eye(256, dtype=np.float32)[:3]]
    results.append(ImageResult(None, None, "gone"))

    def statuses(thresholds):
        found = predict_results(
            Model(replace(card, thresholds=thresholds), head), list("abcd"), results, 2
        )
        assert [len(prediction.ranked) for prediction in found] == [2, 2, 2, 0]
        return [prediction.status for prediction in found]

    assert statuses(None) == ["ok", "ok", "ok", "failed"]
    thresholds = {"cat": 0.9, "dog": 0.91, "owl": None}
    assert statuses(thresholds) == ["ok", "unsure", "unsure", "failed"]


def test_the_score_that_is_written_is_the_one_that_is_compared(model):
    card = replace(load_model(model).card, thresholds={"cat": 0.5, "dog": 0.909443, "owl": 0.5})
    head = Head(np.zeros((256, 3), np.float32), np.zeros(3, np.float32))
    head.weights[:3] = np.eye(3) * 3

    (found,) = predict_results(
        Model(card, head), ["a"], [ImageResult(np.eye(256, dtype=np.float32)[1], b"")], 1
    )

    assert found.ranked == [("dog", 0.909443)]
    assert found.status == "ok"


def test_the_backbone_of_a_model_made_elsewhere_is_put_into_storage(model, storage):
    card = load_model(model).card

    key = install_backbone(storage, model, card)

    assert key.id == name_backbone(find_spec(ARCHITECTURE), card.backbone_sha256)
    assert check_backbone(storage.backbone(key.id), card).is_file()
    backbone = open_backbone(storage, key, "gpu")
    assert backbone.bottleneck_size == card.bottleneck_size


def test_a_model_whose_images_were_prepared_in_another_way_is_refused(
    model, ready_storage, monkeypatch
):
    """Its head would be given other bottlenecks than those it was trained on."""
    monkeypatch.setattr(table, "PIXELS_VERSION", 99)

    with pytest.raises(OtherPoetsError, match="Train it again"):
        install_backbone(ready_storage, model, load_model(model).card)


def test_a_backbone_that_storage_has_is_not_replaced(model, ready_storage):
    (model / "backbone.tflite").unlink()

    found = install_backbone(ready_storage, model, load_model(model).card)

    assert found == BACKBONE
    assert [path.name for path in (ready_storage.root / "backbones").iterdir()] == [BACKBONE_ID]


def test_a_model_cannot_put_a_backbone_in_the_place_of_ours(model, storage):
    evil = b"a network of somebody else"
    (model / "backbone.tflite").unlink()
    (model / "backbone.tflite").write_bytes(evil)
    card = replace(load_model(model).card, backbone_sha256=hashlib.sha256(evil).hexdigest())

    key = install_backbone(storage, model, card)

    assert not has_backbone(storage, BACKBONE_ID)
    assert key.id != BACKBONE_ID
    assert seed_of(key.weights_digest) is None


def test_a_model_cannot_write_outside_the_storage(model, storage):
    card = replace(load_model(model).card, backbone_id="../../elsewhere")

    with pytest.raises(OtherPoetsError):
        install_backbone(storage, model, card)


def test_an_altered_backbone_is_not_put_into_storage(model, storage):
    (model / "backbone.tflite").unlink()
    (model / "backbone.tflite").write_bytes(b"altered")

    with pytest.raises(ModelError, match="was altered"):
        install_backbone(storage, model, load_model(model).card)

    assert not (storage.root / "backbones").exists()
