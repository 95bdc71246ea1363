"""A model folder of a stranger: no program in it runs, nothing leaves its folder, and why."""

import hashlib
import json
import pickle
import shutil
import zipfile

import numpy as np
import pytest

from tests.builders.programs import poets
from tests.builders.traps import TrappedPickle

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]


def change_card(model, **values):
    path = model / "model.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | values))


def change_head(model, name, change):
    with np.load(model / "head.npz") as arrays:
        changed = dict(arrays)
    changed[name] = change(changed[name])
    np.savez(model / "head.npz", **changed)


def keras_program(model, canary):
    """Only what Keras would run when it loads it: a Lambda layer."""
    shutil.rmtree(model)
    model.mkdir()
    code = f"open({str(canary)!r}, 'w')"
    layer = {"class_name": "Lambda", "config": {"function": {"code": code}}}
    with zipfile.ZipFile(model / "model.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(layer))


def pickled_head(model, canary):
    (model / "head.npz").write_bytes(pickle.dumps(TrappedPickle(canary)))


def pickled_array(model, canary):
    change_head(model, "weights", lambda _: np.array([TrappedPickle(canary)], dtype=object))


def way_out(model, canary):
    change_card(model, backbone_id="../../../outside")


def wrong_shape(model, canary):
    change_head(model, "weights", lambda weights: weights[:-1])


def no_numbers(model, canary):
    change_head(model, "bias", lambda bias: bias * np.nan)


def other_backbone(model, canary):
    with (model / "backbone.tflite").open("r+b") as file:
        file.write(b"other")


def no_backbone(model, canary):
    """The hash is right, but it is that of no network."""
    content = b"\x1c\0\0\0TFL3" + bytes(range(256)) * 64
    (model / "backbone.tflite").unlink()  # a link to that of the storage
    (model / "backbone.tflite").write_bytes(content)
    change_card(model, backbone_sha256=hashlib.sha256(content).hexdigest())


REASONS = {
    keras_program: "There is no run and no model folder",
    pickled_head: "cannot be read",
    pickled_array: "Object arrays cannot be loaded when allow_pickle=False",
    way_out: "'../../../outside' is no name of a backbone",
    wrong_shape: "has shape (255, 2)",
    no_numbers: "holds numbers that are not finite",
    other_backbone: "was altered",
    no_backbone: "cannot be loaded",
}


@pytest.fixture
def model(undisturbed_few, tmp_path):
    folder = shutil.copytree(undisturbed_few.model, tmp_path / "model")
    # Else the storage would use its own copy of the backbone.
    shutil.rmtree(tmp_path / "storage" / "backbones")
    return folder


@pytest.mark.parametrize("craft", REASONS, ids=lambda craft: craft.__name__)
def test_a_crafted_model_is_refused_with_the_reason(craft, model, few, tmp_path):
    canary = tmp_path / "canary"
    craft(model, canary)
    outside = {path for path in tmp_path.rglob("*") if "storage" not in path.parts}

    commands = [
        ("classify", few / "red" / "000.jpg"),
        ("classify-dir", few, "-o", tmp_path / "l.csv"),
    ]
    # What a single classification does not use cannot hurt it.
    for command in commands[craft is way_out :]:
        _, err = poets(*command, "--model", model, exit_code=1)
        assert REASONS[craft] in err.splitlines()[-1]

    assert not canary.exists()
    assert {path for path in tmp_path.rglob("*") if "storage" not in path.parts} == outside
