"""The command line of the codelab's retrain.py."""

import json
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.codelab.files import keep_flags, read_flags
from cli.codelab.flags import RetrainFlags
from cli.commands import codelab
from cli.main import main
from tests.builders.datasets import make_data_set
from workers.backbones.table import BACKBONES, find_spec
from workers.storage.layout import RunFolder

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

    wanted = {**ORIGINAL, "image_dir": "photos"}
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


@pytest.mark.parametrize(
    ("given", "flag", "value"),
    [
        ("--how_many 500", "how_many_training_steps", 500),
        ("--how-many=500", "how_many_training_steps", 500),
        ("--learning=0.5", "learning_rate", 0.5),
        ("--testing 20", "testing_percentage", 20),
        ("--intermediate_s 7", "intermediate_store_frequency", 7),
        ("--arch inception_v3", "architecture", "inception_v3"),
        # One flag begins another, and flags of poets begin so too.
        ("--output_g --json", "output_graph", "--json"),
        ("--b mine", "bottleneck_dir", "mine"),
        ("--s mine", "summaries_dir", "mine"),
        ("--flip", "flip_left_right", True),
    ],
)
def test_a_flag_may_be_abbreviated(given, flag, value):
    assert read("--image_dir", "photos", *given.split())[flag] == value


@pytest.mark.parametrize(
    ("given", "candidates"),
    [
        ("--output g.pb", "--output-graph, --output-labels"),
        ("--test 10", "--test-batch-size, --testing-percentage"),
        ("--random_=10", "--random-brightness, --random-crop, --random-scale"),
        ("--w x", "--weights, --weights-dir"),
    ],
)
def test_an_ambiguous_abbreviation_is_refused_with_the_candidates(given, candidates):
    result = retrain("--image_dir", "photos", *given.split())

    assert result.exit_code == 2
    assert candidates in result.stderr


@pytest.mark.parametrize("name", ["flip_left_right", "print_misclassified_test_images"])
@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("--{0}", True),
        ("--{0}=True", True),
        ("--{0} true", True),
        ("--{0}=1", True),
        ("--{0}=False", False),
        ("--{0} False", False),
        ("--no{0}", False),
        ("--no{0}=false", True),
        ("--{0} --no{0}", False),
        ("--no{0} --{0}", True),
        ("--{0} --random_crop 5", True),
    ],
)
def test_a_boolean_is_written_as_in_any_version_of_the_script(name, given, value):
    words = given.format(name).split()

    assert read("--image_dir", "photos", *words)[name] is value


def test_a_boolean_that_is_none_is_refused():
    result = retrain("--image_dir", "photos", "--flip_left_right=maybe")

    assert result.exit_code == 2
    assert "'maybe' is not a valid boolean" in result.stderr


HUB = "https://tfhub.dev/google/imagenet/{}/feature_vector/1"


@pytest.mark.parametrize(
    ("url", "architecture"),
    [
        (HUB.format("inception_v3"), "inception_v3"),
        (HUB.format("mobilenet_v1_050_224"), "mobilenet_0.50_224"),
        (HUB.format("mobilenet_v1_100_128"), "mobilenet_1.0_128"),
        (HUB.format("mobilenet_v1_025_160/quantops"), "mobilenet_0.25_160_quantized"),
        (HUB.format("mobilenet_v2_100_224"), "mobilenet_v2"),
        (HUB.format("mobilenet_v3_large_100_224"), "mobilenet_v3_large"),
    ],
)
def test_a_module_of_tensorflow_hub_names_its_architecture(url, architecture):
    assert read("--image_dir", "photos", "--tfhub_module", url)["tfhub_module"] == architecture
    assert architecture in BACKBONES


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (f"--tfhub_module={HUB.format('nasnet_large')}", "`poets architectures` lists all"),
        (f"--tfhub_module={HUB.format('mobilenet_v2_035_96')}", "has no counterpart here"),
        ("--tfhub_module=rubbish", "has no counterpart here"),
        ("--saved_model_dir=x", "poets export RUN --format saved-model"),
        ("--logging_verbosity=INFO", "--quiet"),
        ("--checkpoint_path=x", "poets resume RUN"),
    ],
)
def test_what_a_later_version_of_the_script_has_is_answered(given, message):
    result = retrain("--image_dir", "photos", given)

    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_the_abbreviations_hold_for_label_image_too():
    given = ["--im", "x.jpg", "--input_h", "128", "--out=y"]
    context = codelab.label_image.make_context("label-image", given)

    found = {name: str(context.params[name]) for name in ("image", "input_height", "output_layer")}
    assert found == {"image": "x.jpg", "input_height": "128", "output_layer": "y"}


@pytest.mark.parametrize("name", ["MobileNet_0.50_224", "INCEPTION_V3", "mobilenet_0.50_224"])
def test_the_case_of_an_architecture_does_not_matter(name):
    assert find_spec(name).name == name.lower()


def flags_for(**changes):
    found = read("--image_dir", "photos")
    names = {one.name for one in fields(RetrainFlags)}
    return RetrainFlags(**{**{name: found[name] for name in names}, **changes})


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("i/", "i/intermediate_20.pb"),
        ("i", "iintermediate_20.pb"),
        ("a/b_", "a/b_intermediate_20.pb"),
    ],
)
def test_the_place_of_intermediate_graphs_is_a_prefix(prefix, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    flags = flags_for(intermediate_output_graphs_dir=prefix)
    assert flags.intermediate_graph(20) == Path(expected)

    keep_flags(run, flags)
    kept = read_flags(run)

    assert kept.intermediate_graph(20) == tmp_path / expected


def test_a_folder_that_an_earlier_version_kept_stays_a_folder(tmp_path):
    run = RunFolder(tmp_path)
    keep_flags(run, flags_for(intermediate_output_graphs_dir="/out/graphs"))
    values = json.loads(run.retrain.read_bytes())
    del values["intermediate_is_prefix"]
    run.retrain.write_text(json.dumps(values))

    kept = read_flags(run)

    assert kept.intermediate_graph(20) == Path("/out/graphs/intermediate_20.pb")


def test_every_label_counts_the_same_in_training():
    assert flags_for().training().class_weight == "balanced"


def test_an_unknown_flag_is_an_error_with_the_nearest_one():
    result = retrain("--image_dir", "photos", "--how_many_steps", 500)

    assert result.exit_code == 2
    assert "--how-many-training-steps" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--image-dir"),
        (("--image_dir", "photos", "--test_batch_size", 0), "-1 for all"),
        (("--image_dir", "photos", "--train_batch_size", 0), "-1 for all"),
        (("--image_dir", "photos", "--train_batch_size", -2), "-2 is not in the range"),
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
            ("--image_dir", "photos", "--intermediate_output_graphs_dir", "file/"),
            "file is a file",
        ),
    ],
)
def test_what_cannot_work_is_said_before_any_work(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    make_data_set(tmp_path / "photos")
    (tmp_path / "file").write_text("")

    result = retrain(*arguments)

    # What is wrong with the command line is 2; what is in the way on the disk, 1.
    in_the_way = message in (". is a folder", "file is a file")
    assert result.exit_code == (1 if in_the_way else 2)
    assert message in result.stderr
    assert not (tmp_path / "storage" / "runs").exists()


@pytest.mark.parametrize("is_named", [False, True])
def test_the_bottleneck_dir_is_the_storage_unless_a_setting_names_one(
    tmp_path, monkeypatch, is_named
):
    if not is_named:
        monkeypatch.delenv("POETS_STORAGE")
    (tmp_path / "none").mkdir()

    result = retrain("--image_dir", tmp_path / "none", "--bottleneck_dir", tmp_path / "mine")

    assert "none" in result.stderr
    assert (tmp_path / "storage").exists() == is_named
    assert (tmp_path / "mine").exists() != is_named
