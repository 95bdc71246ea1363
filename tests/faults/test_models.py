"""A model folder of a stranger: no program in it runs, nothing leaves its folder, and why."""

import hashlib
import json
import os
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


def put_link(path, canary):
    """Put a link to a file of the user, who can read more than the stranger, in its place."""
    secret = canary.with_name("secret")
    path.rename(secret)
    path.symlink_to(secret)


def linked_card(model, canary):
    put_link(model / "model.json", canary)


def linked_head(model, canary):
    put_link(model / "head.npz", canary)


def linked_labels(model, canary):
    put_link(model / "labels.txt", canary)


def linked_backbone(model, canary):
    put_link(model / "backbone.tflite", canary)


def linked_folder(model, canary):
    model.rename(canary.with_name("elsewhere"))
    model.mkdir()
    (model / "model").symlink_to(canary.with_name("elsewhere"))


def pipe_for_labels(model, canary):
    (model / "labels.txt").unlink()
    os.mkfifo(model / "labels.txt")


def pipe_for_backbone(model, canary):
    (model / "backbone.tflite").unlink()
    os.mkfifo(model / "backbone.tflite")


REASONS = {
    keras_program: "There is no run and no model folder",
    pickled_head: "cannot be read",
    pickled_array: "Object arrays cannot be loaded when allow_pickle=False",
    way_out: "was trained by a version of poets that prepares images in another way",
    wrong_shape: "has shape (255, 2)",
    no_numbers: "holds numbers that are not finite",
    other_backbone: "was altered",
    no_backbone: "cannot be loaded",
    linked_card: "it is a link, which is not followed",
    linked_head: "it is a link, which is not followed",
    linked_labels: "it is a link, which is not followed",
    linked_backbone: "it is a link, which is not followed",
    linked_folder: "is a link, which is not followed",
    pipe_for_labels: "it is not a regular file",
    pipe_for_backbone: "it is not a regular file",
}
# What a single classification does not use cannot hurt it.
NOT_OF_A_SINGLE_ONE = (way_out, linked_labels, pipe_for_labels)


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
    for command in commands[craft in NOT_OF_A_SINGLE_ONE :]:
        _, err = poets(*command, "--model", model, exit_code=1)
        assert REASONS[craft] in err.splitlines()[-1]

    assert not canary.exists()
    # Only a network is loaded after the job was planned.
    assert bool(list((tmp_path / "storage" / "runs").glob("*"))) == (craft is no_backbone)
    assert {path for path in tmp_path.rglob("*") if "storage" not in path.parts} == outside
