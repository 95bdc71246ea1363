"""The folder of a model: saved once and whole, read only when nothing is amiss."""

import dataclasses
import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workers.errors import ModelError, StorageError
from workers.heads.head import Head
from workers.heads.model_backbone import check_backbone
from workers.heads.model_folder import (
    MODEL_FILES,
    ModelCard,
    Preprocessing,
    copy_model,
    read_card,
    read_head,
    save_model,
)
from workers.storage.regular_files import CONTENT_BYTES, FACTS_BYTES

CARD = ModelCard(
    name="run",
    created="2026-01-01T00:00:00+00:00",
    architecture="mobilenet_0.25_128",
    backbone_id="id",
    weights="abc",
    backbone_sha256="0" * 64,
    preprocessing=Preprocessing((128, 128), "tf"),
    bottleneck_size=4,
    labels=("gänse\\xff", "red"),
    counts={"training": 9},
    metrics={"test_accuracy": None, "test_log_loss": 0.5},
    training={"solver": "lbfgs", "l2": 0.01},
    versions={"poets": "0"},
)
HEAD = Head(np.arange(8, dtype=np.float32).reshape(4, 2) / 7, np.array([0.1, -3], np.float32))


@pytest.fixture
def backbone(tmp_path):
    (tmp_path / "backbone").write_bytes(b"backbone")
    return tmp_path / "backbone"


@pytest.fixture
def model(tmp_path, backbone):
    save_model(tmp_path / "model", CARD, HEAD, backbone, {"report.csv": b"a,b\n"})
    return tmp_path / "model"


def test_a_model_of_an_older_poets_has_one_label_an_image(model):
    values = json.loads((model / "model.json").read_text("utf-8"))
    del values["activation"]
    (model / "model.json").write_text(json.dumps(values), "utf-8")

    assert read_head(model, read_card(model)).activation == "softmax"


def test_a_head_has_the_activation_of_its_card(tmp_path, backbone):
    card = dataclasses.replace(CARD, activation="sigmoid")
    save_model(tmp_path / "sets", card, HEAD, backbone, {})

    assert read_head(tmp_path / "sets", read_card(tmp_path / "sets")).activation == "sigmoid"


@pytest.mark.parametrize("activation", ["relu", None, ["sigmoid"]])
def test_an_activation_that_poets_does_not_know_is_refused(model, activation):
    values = json.loads((model / "model.json").read_text("utf-8"))
    (model / "model.json").write_text(json.dumps({**values, "activation": activation}), "utf-8")

    with pytest.raises(ModelError, match="damaged"):
        read_card(model)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_model_is_read_as_it_was_saved(model):
    card = read_card(model)
    head = read_head(model, card)

    assert card == CARD
    assert head.weights.tobytes() == HEAD.weights.tobytes()
    assert head.bias.tobytes() == HEAD.bias.tobytes()


def test_a_model_that_was_saved_before_there_were_thresholds_is_read(model):
    values = json.loads((model / "model.json").read_text("utf-8"))
    del values["thresholds"]
    (model / "model.json").write_text(json.dumps(values))

    card = read_card(model)

    assert card == CARD
    assert not card.is_unsure("red", 0.0)


def test_the_folder_holds_what_is_needed_and_the_reports(model):
    assert set(contents(model)) == {*MODEL_FILES, "report.csv"}
    assert (model / "labels.txt").read_text("utf-8") == "gänse\\xff\nred\n"
    assert (model / "backbone.tflite").read_bytes() == b"backbone"
    assert "gänse" in (model / "model.json").read_text("utf-8")


def test_a_second_model_is_refused_and_changes_nothing(model, backbone, tmp_path):
    before = contents(model)

    saved = save_model(model, CARD, Head(HEAD.weights + 1, HEAD.bias), backbone, {"new": b""})

    assert not saved
    assert contents(model) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp")] == []


def test_the_first_model_is_said_to_be_saved(tmp_path, backbone):
    assert save_model(tmp_path / "model", CARD, HEAD, backbone, {})


def test_a_model_that_cannot_be_saved_leaves_nothing(tmp_path):
    (tmp_path / "run").mkdir()

    with pytest.raises(StorageError, match="Cannot write"):
        save_model(tmp_path / "run" / "model", CARD, HEAD, tmp_path / "no backbone", {})

    assert list((tmp_path / "run").iterdir()) == []


def test_a_copy_has_all_but_the_backbone(model, tmp_path):
    copy_model(model, tmp_path / "jobs" / "model")

    assert set(contents(tmp_path / "jobs" / "model")) == set(MODEL_FILES) - {"backbone.tflite"}
    assert read_card(tmp_path / "jobs" / "model") == CARD


def test_a_folder_without_a_model_is_refused_with_what_to_give(tmp_path):
    with pytest.raises(ModelError, match="holds no model"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"version": 1}', b'{"version": 1, "labels": 3}'],
)
def test_a_damaged_card_is_refused(model, content):
    (model / "model.json").write_bytes(content)

    with pytest.raises(ModelError, match="is damaged"):
        read_card(model)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", "ab"),
        ("labels", ["a", 7]),
        ("labels", ["a", "a"]),
        ("labels", ["a", "\ud800"]),
        ("backbone_id", 7),
        ("bottleneck_size", "many"),
        ("preprocessing", []),
        ("preprocessing", {}),
        ("preprocessing", {"input_size": [1]}),
        ("metrics", None),
        ("thresholds", "a"),
        ("thresholds", {"a": "high"}),
        ("thresholds", {"a": float("nan")}),
        ("counts", {"training": "many"}),
        ("versions", ["poets"]),
    ],
)
def test_a_card_that_no_trainer_writes_is_refused(model, key, value):
    values = json.loads((model / "model.json").read_text("utf-8"))
    (model / "model.json").write_text(json.dumps({**values, key: value}))

    with pytest.raises(ModelError, match="is damaged"):
        read_card(model)


def test_a_card_that_is_nested_without_end_is_refused(model):
    (model / "model.json").write_text("[" * 200_000)

    with pytest.raises(ModelError, match="is damaged"):
        read_card(model)


def test_a_head_that_claims_to_be_gigantic_is_refused_unread(model):
    header = io.BytesIO()
    shape = {"descr": "<f4", "fortran_order": False, "shape": (10**13,)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(model / "head.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights.npy", header.getvalue() + bytes(100_000_000))

    with pytest.raises(ModelError, match="unpacks to"):
        read_head(model, CARD)


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=settings().max_examples * 3,
)
def test_an_altered_head_is_read_as_it_was_or_refused(model, place, bit):
    whole = (model / "head.npz").read_bytes()
    content = bytearray(whole)
    content[place % len(content)] ^= 1 << bit
    (model / "head.npz").write_bytes(content)
    try:
        head = read_head(model, CARD)
        assert np.array_equal(head.weights, HEAD.weights)
    except ModelError:
        pass
    finally:
        (model / "head.npz").write_bytes(whole)


def test_a_model_of_another_version_is_refused(model):
    values = json.loads((model / "model.json").read_text("utf-8"))
    (model / "model.json").write_text(json.dumps({**values, "version": 2}))

    with pytest.raises(ModelError, match="has version 2; this poets reads 1"):
        read_card(model)


@pytest.mark.parametrize("length", [0, 1, 100, 300])
def test_a_head_that_was_cut_off_is_refused(model, length):
    content = (model / "head.npz").read_bytes()
    (model / "head.npz").write_bytes(content[:length])

    with pytest.raises(ModelError, match="cannot be read"):
        read_head(model, CARD)


def test_no_altered_byte_of_the_numbers_goes_unnoticed(model):
    content = bytearray((model / "head.npz").read_bytes())
    content[content.index(HEAD.weights.tobytes()) + 5] ^= 1
    (model / "head.npz").write_bytes(content)

    with pytest.raises(ModelError, match="cannot be read"):
        read_head(model, CARD)


def test_a_missing_head_is_refused(model):
    (model / "head.npz").unlink()

    with pytest.raises(ModelError, match=r"has no head\.npz"):
        read_head(model, CARD)


def put_link(path, tmp_path):
    """Put a link to a good file of the same content in the place of a file."""
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")


def put_pipe(path, _):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(("put", "reason"), [(put_link, "a link"), (put_pipe, "not a regular")])
@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_file_of_a_model_that_is_none_is_not_copied(model, tmp_path, put, reason, name):
    put(model / name, tmp_path)

    with pytest.raises(ModelError, match=rf"{name} of model .* is not used: it is {reason}"):
        copy_model(model, tmp_path / "copy", MODEL_FILES)

    assert not (tmp_path / "copy" / name).exists()


@pytest.mark.parametrize(("put", "reason"), [(put_link, "a link"), (put_pipe, "not a regular")])
@pytest.mark.parametrize("name", ["model.json", "head.npz", "backbone.tflite"])
def test_a_file_of_a_model_that_is_none_is_not_read(model, tmp_path, put, reason, name):
    put(model / name, tmp_path)

    with pytest.raises(ModelError, match=f"it is {reason}"):
        read_head(model, read_card(model))
        check_backbone(model, CARD)


def test_a_card_that_would_fill_the_memory_is_not_read(model):
    os.truncate(model / "model.json", FACTS_BYTES + 1)

    with pytest.raises(ModelError, match=f"larger than {FACTS_BYTES} bytes"):
        read_card(model)


@pytest.mark.parametrize("name", ["head.npz", "backbone.tflite"])
def test_arrays_that_would_fill_the_memory_are_not_read(model, name):
    os.truncate(model / name, CONTENT_BYTES + 1)  # a file with a hole, which takes no room

    with pytest.raises(ModelError, match=f"larger than {CONTENT_BYTES} bytes"):
        copy_model(model, model / "copy", [name])


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("a program in the model was run",))


@pytest.mark.parametrize("kind", ["pickle", "array of objects"])
def test_no_program_in_a_head_is_run(model, kind):
    if kind == "pickle":
        (model / "head.npz").write_bytes(pickle.dumps(Evil()))
    else:
        np.savez(model / "head.npz", weights=np.array([Evil()], object), bias=HEAD.bias)

    with pytest.raises(ModelError, match="cannot be read"):
        read_head(model, CARD)


def test_a_head_without_one_of_its_arrays_is_refused(model):
    np.savez(model / "head.npz", weights=HEAD.weights)

    with pytest.raises(ModelError, match="cannot be read"):
        read_head(model, CARD)


def test_a_head_that_is_a_bare_array_is_refused(model):
    with open(model / "head.npz", "wb") as file:
        np.save(file, HEAD.weights)

    with pytest.raises(ModelError):
        read_head(model, CARD)


@pytest.mark.parametrize(
    ("weights", "bias"),
    [
        (HEAD.weights[:3], HEAD.bias),
        (HEAD.weights[:, :1], HEAD.bias),
        (HEAD.weights, HEAD.bias[:1]),
        (HEAD.weights.ravel(), HEAD.bias),
    ],
)
def test_a_head_of_another_shape_is_refused(model, weights, bias):
    np.savez(model / "head.npz", weights=weights, bias=bias)

    with pytest.raises(ModelError, match="has shape"):
        read_head(model, CARD)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["weights", "bias"])
def test_numbers_that_are_not_finite_are_refused(model, name, value):
    arrays = {"weights": HEAD.weights.copy(), "bias": HEAD.bias.copy()}
    arrays[name].flat[1] = value
    np.savez(model / "head.npz", **arrays)

    with pytest.raises(ModelError, match="not finite"):
        read_head(model, CARD)
