"""Pretrained weights: found by Keras' own names, known by their hash."""

import hashlib

import pytest

from workers.backbones.table import find_spec
from workers.backbones.weights import digest_file, find_weights, seed_of
from workers.errors import WeightsError

SPEC = find_spec("mobilenet_0.25_128")


def put(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SPEC.weights_file).write_bytes(b"weights")
    return folder / SPEC.weights_file


def test_weights_are_found_in_a_folder(tmp_path):
    file = put(tmp_path / "one")

    assert find_weights(SPEC, [tmp_path / "one"]) == file


def test_weights_are_found_in_a_subfolder(tmp_path):
    file = put(tmp_path / "one" / "deep" / "deeper")

    assert find_weights(SPEC, [tmp_path / "one"]) == file


def test_the_first_folder_wins_and_the_folder_itself_before_its_subfolders(tmp_path):
    put(tmp_path / "one" / "a")
    put(tmp_path / "two")
    direct = put(tmp_path / "one")

    assert find_weights(SPEC, [tmp_path / "one", tmp_path / "two"]) == direct


def test_the_downloads_of_keras_come_last(tmp_path):
    downloaded = put(tmp_path / "keras" / "models")
    assert find_weights(SPEC, [tmp_path / "one"]) == downloaded

    given = put(tmp_path / "one")

    assert find_weights(SPEC, [tmp_path / "one"]) == given


def test_other_files_are_no_weights(tmp_path):
    (tmp_path / "mobilenet_2_5_224_tf_no_top.h5").touch()
    (tmp_path / SPEC.weights_file).mkdir()

    assert find_weights(find_spec("mobilenet_0.25_160"), [tmp_path]) is None


def test_a_folder_with_the_name_of_the_weights_is_no_weights(tmp_path):
    (tmp_path / "sub" / SPEC.weights_file).mkdir(parents=True)

    assert find_weights(SPEC, [tmp_path]) is None


def test_folders_that_do_not_exist_hold_nothing(tmp_path):
    assert find_weights(SPEC, [tmp_path / "gone"]) is None


def test_the_digest_is_that_of_the_content(tmp_path):
    file = put(tmp_path)

    assert digest_file(file) == hashlib.sha256(b"weights").hexdigest()
    assert digest_file(file, "md5") == hashlib.md5(b"weights").hexdigest()


def test_weights_that_cannot_be_read_are_refused_by_name(tmp_path):
    with pytest.raises(WeightsError, match=r"Cannot read the weights .*gone\.h5: No such file"):
        digest_file(tmp_path / "gone.h5")


@pytest.mark.parametrize("seed", [0, 7, 123456])
def test_random_weights_are_known_by_their_seed(seed):
    assert seed_of(f"random-{seed}") == seed


def test_a_digest_of_a_file_is_no_seed():
    assert seed_of(hashlib.sha256(b"weights").hexdigest()) is None


def test_the_digests_of_the_shared_weights_are_as_documented(data):
    weights = data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"

    found = find_weights(find_spec("mobilenet_0.25_224"), [data / "weights"])

    assert found == weights
    assert digest_file(found).startswith("dbdb03ee2a22fd89")
