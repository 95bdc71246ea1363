"""Backbones: LiteRT gives what Keras gives, each image for itself, converted only once."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.builders.backbones import ARCHITECTURE, BACKBONE, BACKBONE_ID, WEIGHTS, install_tiny
from workers.backbones import convert
from workers.backbones.convert import convert_backbone
from workers.backbones.keras import KerasBackbone, build_keras_model
from workers.backbones.litert import LiteRTBackbone
from workers.backbones.loading import open_backbone
from workers.backbones.store import BackboneDescription, has_backbone, read_description
from workers.backbones.table import BackboneKey, find_spec, name_backbone
from workers.backbones.weights import digest_file
from workers.errors import ModelError, StorageError, WeightsError
from workers.images.loading import OpenImage
from workers.processes.capacity import default_concurrency, has_gpu, uses_gpu
from workers.processes.heartbeat import no_heartbeat
from workers.storage.layout import Storage

pytestmark = pytest.mark.tensorflow

REAL = "mobilenet_0.50_224"
REAL_FILE = "weights/from_8bit_graph/mobilenet_5_0_224_tf_no_top.h5"


def key_for(architecture, weights=WEIGHTS):
    return BackboneKey(architecture, weights, name_backbone(find_spec(architecture), weights))


def convert_here(storage, key):
    """Convert in this process, which has TensorFlow already; as the program does it."""
    convert._convert(storage, key)
    return LiteRTBackbone(storage.backbone(key.id) / "backbone.tflite")


def make_pixels(count, size=128, seed=0):
    """Return smooth pictures with some noise, all different."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (count, size // 16, size // 16, 3))
    smooth = coarse.repeat(16, axis=1).repeat(16, axis=2)
    noisy = smooth + generator.integers(-20, 21, smooth.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def difference(found, expected):
    """Return the largest difference as a share of the largest number (random weights: 1e-17)."""
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.fixture(scope="module")
def tiny_file(converted):
    return converted.backbone(BACKBONE_ID) / "backbone.tflite"


@pytest.fixture(scope="module")
def tiny(tiny_file):
    return LiteRTBackbone(tiny_file)


@pytest.fixture(scope="module")
def tiny_keras():
    return KerasBackbone(find_spec(ARCHITECTURE), None, WEIGHTS)


def test_litert_agrees_with_keras_on_made_pictures(tiny, tiny_keras):
    pixels = make_pixels(11)

    assert difference(tiny.compute(pixels), tiny_keras.compute(pixels)) < 1e-3


def test_both_say_what_they_take_and_give(tiny, tiny_keras):
    for backbone in (tiny, tiny_keras):
        assert backbone.input_size == (128, 128)
        assert backbone.bottleneck_size == 256
        assert backbone.compute(make_pixels(0)).shape == (0, 256)
        assert backbone.compute(make_pixels(3)).dtype == np.float32


def test_litert_agrees_with_keras_on_real_photographs_and_weights(data, storage):
    weights = data / REAL_FILE
    key = key_for(REAL, digest_file(weights))
    storage.weights(key.weights_digest).parent.mkdir()
    shutil.copyfile(weights, storage.weights(key.weights_digest))
    photographs = [sorted((data / "flowers").glob("*/*.jpg"))[n] for n in range(0, 900, 90)]
    pixels = np.stack([OpenImage(str(path), (224, 224)).cut() for path in photographs])

    found = convert_here(storage, key).compute(pixels)

    expected = build_keras_model(find_spec(REAL), weights, key.weights_digest)
    assert np.abs(found - expected(pixels.astype(np.float32)).numpy()).max() < 1e-3
    assert found.std(axis=0).max() > 0.1


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 20])
def test_the_result_of_an_image_does_not_depend_on_how_many_there_are(tiny, count):
    pixels = make_pixels(20)
    expected = tiny.compute(pixels)

    assert tiny.compute(pixels[:count]).tobytes() == expected[:count].tobytes()


def test_the_result_of_an_image_does_not_depend_on_its_neighbours(tiny):
    pixels, others = make_pixels(8), make_pixels(8, seed=1)
    expected = tiny.compute(pixels)[3]

    for place in range(8):
        mixed = others.copy()
        mixed[place] = pixels[3]
        assert tiny.compute(mixed)[place].tobytes() == expected.tobytes()


@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_the_result_of_an_image_does_not_depend_on_the_chunk(tiny_file, tiny, chunk):
    pixels = make_pixels(8)

    assert np.array_equal(LiteRTBackbone(tiny_file, chunk).compute(pixels), tiny.compute(pixels))


def test_keras_gives_an_image_the_same_result_in_any_company(tiny_keras):
    pixels = make_pixels(5)

    alone = tiny_keras.compute(pixels[:1])

    assert np.array_equal(alone, tiny_keras.compute(pixels)[:1])


def test_a_quantized_backbone_is_smaller_and_stays_close(storage, tiny_file, tiny):
    key = key_for(f"{ARCHITECTURE}_quantized")
    pixels = make_pixels(4)

    quantized = convert_here(storage, key)

    path = storage.backbone(key.id) / "backbone.tflite"
    assert path.stat().st_size < 0.5 * tiny_file.stat().st_size
    expected, found = tiny.compute(pixels), quantized.compute(pixels)
    assert difference(found, expected) < 0.25
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.95


def test_a_converted_backbone_is_described(converted, tiny_file):
    description = read_description(converted, BACKBONE_ID)

    assert description.images_per_second > 0
    assert description == BackboneDescription(
        ARCHITECTURE,
        WEIGHTS,
        (128, 128),
        "tf",
        256,
        digest_file(tiny_file),
        description.images_per_second,
    )


def test_a_conversion_is_not_repeated(real_storage, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)

    convert_backbone(real_storage, key_for(ARCHITECTURE), no_heartbeat)


def test_the_same_seed_gives_the_same_random_weights_and_another_others():
    pixels = make_pixels(2)
    spec = find_spec(ARCHITECTURE)

    zero, again, one = (
        KerasBackbone(spec, None, weights).compute(pixels)
        for weights in ("random-0", "random-0", "random-1")
    )

    assert np.array_equal(zero, again)
    assert difference(one, zero) > 0.1


def test_weights_of_another_architecture_are_refused_with_the_right_name(data):
    weights = data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"

    with pytest.raises(WeightsError, match=r"mobilenet_5_0_224_tf_no_top\.h5") as caught:
        build_keras_model(find_spec(REAL), weights, digest_file(weights))

    assert "do not fit mobilenet_0.50_224" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_holds_no_weights_is_refused_with_the_right_name(tmp_path):
    (tmp_path / "weights.h5").write_bytes(b"no weights")

    with pytest.raises(WeightsError, match=r"mobilenet_2_5_128_tf_no_top\.h5"):
        build_keras_model(find_spec(ARCHITECTURE), tmp_path / "weights.h5", "abc")


def test_weights_in_the_layout_of_keras_3_are_read_under_any_name(data, tmp_path):
    weights = data / "weights" / "mobilenet_2_5_128_tf_no_top.h5"
    expected = build_keras_model(find_spec(ARCHITECTURE), weights, digest_file(weights))
    expected.layers[-1].save_weights(tmp_path / "own.weights.h5")
    (tmp_path / "own.weights.h5").rename(tmp_path / "0123.h5")

    found = build_keras_model(find_spec(ARCHITECTURE), tmp_path / "0123.h5", "abc")

    pixels = make_pixels(1).astype(np.float32)
    assert np.array_equal(found.predict_on_batch(pixels), expected.predict_on_batch(pixels))


def test_weights_that_were_altered_in_storage_are_refused(storage):
    key = key_for(ARCHITECTURE, "0" * 64)
    storage.weights(key.weights_digest).parent.mkdir()
    storage.weights(key.weights_digest).write_bytes(b"altered")

    with pytest.raises(WeightsError, match="were altered"):
        convert_here(storage, key)

    assert not has_backbone(storage, key.id)


def answers_of_the_program(storage, key):
    answers = []
    convert._answer(storage, key, answers.append)
    return answers


def test_the_program_answers_what_is_wrong_with_the_weights(storage):
    [refusal] = answers_of_the_program(storage, key_for(ARCHITECTURE, "0" * 64))

    assert "Cannot read the weights" in refusal.reason
    assert not refusal.is_of_storage


def test_the_program_tells_a_storage_that_refuses_from_weights_that_do(storage):
    storage.backbone("any").parent.touch()

    [refusal] = answers_of_the_program(storage, key_for(ARCHITECTURE))

    assert "Cannot write" in refusal.reason
    assert refusal.is_of_storage


def replace_program(tmp_path, monkeypatch, script):
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.parametrize(
    ("end", "error", "message"),
    [
        ('{"reason": "why", "is_of_storage": false}', WeightsError,
         f"Cannot prepare {ARCHITECTURE}: why"),
        ('{"reason": "why", "is_of_storage": true}', StorageError, "why"),
    ],
)  # fmt: skip
def test_the_answer_of_the_program_says_whose_fault_it_is(
    storage, tmp_path, monkeypatch, end, error, message
):
    replace_program(tmp_path, monkeypatch, f"echo; read question; echo '{end}'; echo")
    heartbeats = []

    with pytest.raises(error, match=f"^{message}$"):
        convert_backbone(storage, key_for(ARCHITECTURE), lambda: heartbeats.append(1))

    assert heartbeats


@pytest.mark.parametrize(
    ("end", "message"),
    [("echo noise >&2; echo why >&2; exit 137", "why"), ("exit 1", r".*\(exit code 1\)")],
)
def test_a_program_that_dies_is_a_mistake_of_ours(storage, tmp_path, monkeypatch, end, message):
    replace_program(tmp_path, monkeypatch, f"echo; read question; {end}")

    with pytest.raises(RuntimeError, match=f"^preparing {ARCHITECTURE} ended with: {message}$"):
        convert_backbone(storage, key_for(ARCHITECTURE), no_heartbeat)


def test_a_conversion_that_does_not_agree_with_keras_is_refused(tiny_file):
    other = build_keras_model(find_spec(ARCHITECTURE), None, "random-1")

    with pytest.raises(WeightsError, match="does not agree with Keras"):
        convert._check_agreement(tiny_file.read_bytes(), other, find_spec(ARCHITECTURE))


def test_a_backbone_that_is_not_in_storage_cannot_be_described(storage):
    with pytest.raises(ModelError, match="not in storage"):
        read_description(storage, "none")


@pytest.mark.parametrize("content", [None, b"", b"no backbone" * 100])
def test_a_file_that_is_no_backbone_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "backbone.tflite").write_bytes(content)

    with pytest.raises(ModelError, match="cannot be loaded"):
        LiteRTBackbone(tmp_path / "backbone.tflite")


def test_loading_a_backbone_says_nothing_on_the_terminal(tiny_file, capfd):
    LiteRTBackbone(tiny_file)

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("device", "kind"), [("cpu", LiteRTBackbone), ("gpu", KerasBackbone)])
def test_the_device_decides_what_computes(real_storage, device, kind):
    backbone = open_backbone(real_storage, BACKBONE, device)

    assert isinstance(backbone, kind)
    assert open_backbone(real_storage, BACKBONE, device) is backbone


def test_eight_bit_weights_give_the_same_bottlenecks_on_every_device(storage):
    key = key_for(f"{ARCHITECTURE}_quantized")
    convert_here(storage, key)

    backbone = open_backbone(storage, key, "gpu")

    assert isinstance(backbone, LiteRTBackbone)


@pytest.mark.parametrize("damage", ["altered", "gone"])
def test_a_damaged_backbone_is_never_used_until_it_is_prepared_again(ready_storage, damage):
    path = ready_storage.backbone(BACKBONE_ID) / "backbone.tflite"
    content = bytearray(path.read_bytes())
    path.unlink()
    if damage == "altered":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    with pytest.raises(StorageError, match="prepared again"):
        open_backbone(ready_storage, BACKBONE, "cpu")

    assert not has_backbone(ready_storage, BACKBONE_ID)
    install_tiny(ready_storage, WEIGHTS)
    assert open_backbone(ready_storage, BACKBONE, "cpu")


def test_a_gpu_that_is_hidden_is_not_used(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")

    assert not has_gpu()
    assert not uses_gpu("auto")
    assert uses_gpu("gpu")
    assert default_concurrency("gpu").value == 1


def test_storages_in_two_places_do_not_share_a_backbone(ready_storage, tmp_path):
    other = Storage(tmp_path / "other")

    with pytest.raises(ModelError):
        open_backbone(other, BACKBONE, "cpu")
