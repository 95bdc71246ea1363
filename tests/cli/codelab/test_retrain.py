"""The command line of the codelab's retrain.py."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.commands import codelab
from cli.main import main
from tests.builders.datasets import make_data_set

# Name and default of every flag of scripts/retrain.py in tensorflow-for-poets-2.
ORIGINAL = {
    "image_dir": None,
    "output_graph": "/tmp/output_graph.pb",
    "intermediate_output_graphs_dir": "/tmp/intermediate_graph/",
    "intermediate_store_frequency": 0,
    "output_labels": "/tmp/output_labels.txt",
    "summaries_dir": "/tmp/retrain_logs",
    "how_many_training_steps": 4000,
    "learning_rate": 0.01,
    "testing_percentage": 10,
    "validation_percentage": 10,
    "eval_step_interval": 10,
    "train_batch_size": 100,
    "test_batch_size": -1,
    "validation_batch_size": 100,
    "print_misclassified_test_images": False,
    "model_dir": "/tmp/imagenet",
    "bottleneck_dir": "/tmp/bottleneck",
    "final_tensor_name": "final_result",
    "flip_left_right": False,
    "random_crop": 0,
    "random_scale": 0,
    "random_brightness": 0,
    "architecture": "inception_v3",
}


def retrain(*arguments):
    return CliRunner().invoke(main, ["retrain", *map(str, arguments)])


def read(*arguments):
    """Return what the command takes from its arguments."""
    context = codelab.retrain.make_context("retrain", [str(argument) for argument in arguments])
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in context.params.items()
    }


def test_the_defaults_are_those_of_the_codelab():
    found = read("--image_dir", "photos")

    wanted = {
        **ORIGINAL,
        "image_dir": "photos",
        "intermediate_output_graphs_dir": "/tmp/intermediate_graph",
    }
    assert {name: found[name] for name in ORIGINAL} == wanted


def test_each_flag_has_both_spellings():
    given = {
        name: ("--{}",)
        if default is False
        else ("--{}", 7 if isinstance(default, int) else 0.5)
        if isinstance(default, int | float)
        else ("--{}", f"my_{name}")
        for name, default in ORIGINAL.items()
    }

    def spell(change):
        return [str(word).format(change(name)) for name, words in given.items() for word in words]

    original = read(*spell(lambda name: name))
    ours = read(*spell(lambda name: name.replace("_", "-")))

    assert original == ours
    # A value keeps its underscores.
    assert original["architecture"] == "my_architecture"
    for name, default in ORIGINAL.items():
        assert original[name] != default, name


def test_an_unknown_flag_is_an_error_with_the_nearest_one():
    result = retrain("--image_dir", "photos", "--how_many_steps", 500)

    assert result.exit_code == 2
    assert "--how-many-training-steps" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--image-dir"),
        (("--image_dir", "photos", "--test_batch_size", 0), "-1 for all"),
        (("--image_dir", "photos", "--learning_rate", "nan"), "not a finite number"),
        (("--image_dir", "photos", "--testing_percentage", "inf"), "not a valid integer"),
        (("--image_dir", "photos", "--testing_percentage", "0.1"), "not a valid integer"),
        (("--image_dir", "photos", "--random_crop", 200), "a percentage from 0 to 100"),
        (("--image_dir", "photos", "--final_tensor_name", "a b"), "cannot be called 'a b'"),
        (("--image_dir", "photos", "--output_graph", "."), ". is a folder"),
        (("--image_dir", ""), "it is empty"),
        (
            ("--image_dir", "photos", "--output_graph", "x", "--output_labels", "./x"),
            "would be written twice",
        ),
        (("--image_dir", "photos", "--output_labels", "file/x"), "file is a file"),
        (("--image_dir", "photos", "--summaries_dir", "file"), "file is a file"),
        (
            ("--image_dir", "photos", "--intermediate_output_graphs_dir", "file"),
            "file is a file",
        ),
    ],
)
def test_what_cannot_work_is_said_before_any_work(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    make_data_set(tmp_path / "photos")
    (tmp_path / "file").write_text("")

    result = retrain(*arguments)

    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "storage" / "runs").exists()


@pytest.mark.parametrize("is_named", [False, True])
def test_the_bottleneck_dir_is_the_storage_unless_a_setting_names_one(
    tmp_path, monkeypatch, is_named
):
    if not is_named:
        monkeypatch.delenv("POETS_STORAGE")

    result = retrain("--image_dir", tmp_path / "none", "--bottleneck_dir", tmp_path / "mine")

    assert "none" in result.stderr
    assert (tmp_path / "storage").exists() == is_named
    assert (tmp_path / "mine").exists() != is_named
