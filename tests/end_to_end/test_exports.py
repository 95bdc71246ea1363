"""Exported models answer as poets does, on real photographs, in the tools they are meant for."""

import csv
import re

import numpy as np
import pytest

from tests.builders.environments import run_with
from tests.builders.programs import invoke, poets, poets_json, set_settings_of_nobody
from workers.backbones.litert import LiteRTBackbone
from workers.errors import ImageError
from workers.exports.formats import FORMATS
from workers.exports.loaders import LOADERS
from workers.heads.model_folder import load_model
from workers.images.loading import OpenImage
from workers.labelling import classify_files

pytestmark = pytest.mark.tensorflow

# Eight bits are tried on every fourth flower, which measures an accuracy. The other formats are
# tried on a third of those and of the awkward files: each picture says as much as the next.
EVERY = 4
# EXIF-rotated, CMYK, grey, palette and transparent ones that TensorFlow decodes.
AWKWARD = (
    "Portrait_6.jpg", "hopper_orientation_2.jpg", "hopper_orientation_3.jpg",
    "hopper_orientation_6.jpg", "hopper_orientation_8.jpg", "pil_sample_cmyk.jpg",
    "hopper_gray.jpg", "hopper.gif", "p_trns_single.png", "pil123rgba.png", "monkey16.png",
    "junk_jpeg_header.jpg",
)  # fmt: skip


@pytest.fixture(scope="module")
def handed_out(flowers, tmp_path_factory):
    """The folder of the run's model in every format, and what the command printed."""
    target = tmp_path_factory.mktemp("exports") / "handed out"
    folders = ":".join(map(str, flowers.weights_dirs))
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_settings_of_nobody(monkeypatch, target.parent)
        monkeypatch.setenv("POETS_WEIGHTS_DIR", folders)
        storage = ("--storage", flowers.storage.root)
        printed, _ = poets("export", flowers.result["run"], "--to", target, *storage)
    return target, printed


@pytest.fixture(scope="module")
def exported(handed_out):
    return handed_out[0]


@pytest.fixture(scope="module")
def photographs(data):
    """Paths of flowers, and of every awkward file that can be read."""
    flowers = sorted(data.glob("flowers/*/*.jpg"))[::EVERY]
    awkward = sorted(path for path in (data / "awkward").iterdir() if path.suffix != ".tsv")
    good = []
    for path in awkward:
        try:
            OpenImage(str(path), (8, 8))
        except ImageError:
            continue
        good.append(path)
    assert len(good) > 50
    return [*flowers, *good]


@pytest.fixture(scope="module")
def pixels(photographs):
    return np.array([OpenImage(str(path), (224, 224)).cut() for path in photographs])


@pytest.fixture(scope="module")
def ours(exported, pixels):
    backbone = LiteRTBackbone(exported / "backbone.tflite")
    return load_model(exported).head.predict(backbone.compute(pixels))


def same_label(found, ours):
    return np.mean(found.argmax(axis=1) == ours.argmax(axis=1))


@pytest.mark.parametrize("name", [name for name, row in FORMATS.items() if row.tolerance])
def test_a_float_format_fed_the_same_pixels_gives_the_same_probabilities(
    name, exported, pixels, ours
):
    found = LOADERS[name](exported / FORMATS[name].files[0], "final_result")(pixels[::3])

    assert same_label(found, ours[::3]) >= 0.995
    assert np.abs(found - ours[::3]).max() <= 1e-3


def test_8_bits_cost_less_than_two_points_of_accuracy(exported, photographs, pixels, ours):
    labels = load_model(exported).card.labels
    truth = [labels.index(p.parent.name) for p in photographs if p.parent.name in labels]

    found = LOADERS["tflite-int8"](exported / "model_int8.tflite", "")(pixels[: len(truth)])

    accuracy = np.mean(found.argmax(axis=1) == truth)
    assert np.mean(ours[: len(truth)].argmax(axis=1) == truth) - accuracy <= 0.02


def codelab_scores(graph_file, paths):
    """Scores as by the codelab's scripts/label_image.py: TensorFlow 1, its own resize."""
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        definition = tf.compat.v1.GraphDef()
        definition.ParseFromString(graph_file.read_bytes())
        tf.import_graph_def(definition)
        name = tf.compat.v1.placeholder(tf.string)
        decoded = tf.image.decode_jpeg(tf.io.read_file(name), channels=3)
        floats = tf.expand_dims(tf.cast(decoded, tf.float32), 0)
        resized = tf.compat.v1.image.resize_bilinear(floats, [224, 224])
        normalized = tf.divide(tf.subtract(resized, [128]), [128])
        source = graph.get_operation_by_name("import/input").outputs[0]
        target = graph.get_operation_by_name("import/final_result").outputs[0]
        with tf.compat.v1.Session() as session:
            results = []
            for path in paths:
                values = session.run(normalized, {name: str(path)})
                results.append(np.squeeze(session.run(target, {source: values})))
    return np.array(results)


@pytest.mark.filterwarnings("ignore")  # TensorFlow's own, about its own past
def test_the_codelabs_own_script_runs_the_graph_unchanged(exported, photographs, ours):
    paths = [path for path in photographs if path.parent.parent.name == "flowers"][::6]
    labels = (exported / "retrained_labels.txt").read_text().split()

    found = codelab_scores(exported / "retrained_graph.pb", paths)

    truth = [labels.index(path.parent.name) for path in paths]
    assert found.shape == (len(paths), 5)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    # Its resize skips pixels, so the probabilities cannot be the same.
    assert np.mean(found.argmax(axis=1) == truth) > 0.9
    image = paths[0]
    # In this process, which has TensorFlow already.
    printed = invoke(
        "label-image", "--image", image, "--graph", exported / "retrained_graph.pb",
        "--labels", exported / "retrained_labels.txt", "--input_width=224", "--input-height=224",
    )  # fmt: skip
    order = found[0].argsort()[::-1]
    lines = printed.stdout.splitlines()
    assert (lines[0], lines[2]) == ("", "")
    assert re.fullmatch(r"Evaluation time \(1-image\): \d+\.\d{3}s", lines[1])
    assert lines[3:] == [f"{labels[i]} (score={found[0][i]:0.5f})" for i in order]
    assert printed.stderr == ""


def test_the_saved_model_reads_files_by_itself(exported, photographs, ours):
    import tensorflow as tf

    model = tf.saved_model.load(str(exported / "saved_model"))
    classify = model.signatures["serving_default"]
    both = list(zip(photographs, ours, strict=True))
    flowers = [row for row in both if row[0].parent.name != "awkward"]
    awkward = [row for row in both if row[0].name in AWKWARD]
    assert len(awkward) == len(AWKWARD)
    readable = [*flowers[::4], *awkward]
    labels = load_model(exported).card.labels

    found = [classify(tf.constant([path.read_bytes()])) for path, _ in readable]

    scores = np.zeros((len(readable), len(labels)))
    for row, answer in enumerate(found):
        names = [name.decode() for name in answer["label"].numpy()[0]]
        assert sorted(names) == sorted(labels)
        assert np.all(np.diff(answer["score"].numpy()[0]) <= 0)
        for name, score in zip(names, answer["score"].numpy()[0], strict=True):
            scores[row, labels.index(name)] = score
    expected = np.array([probabilities for _, probabilities in readable])
    assert same_label(scores, expected) >= 0.97
    assert np.quantile(np.abs(scores - expected).max(axis=1), 0.9) <= 0.05


def test_the_lines_in_the_model_card_load_each_format(exported, data):
    photograph = data / "flowers" / "daisy" / "102841525_bd6628ae3c.jpg"
    text = (exported / "README.md").read_text()
    blocks = re.findall(r"\(`pip install ([^`]*)`\):\n\n```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 1 + len(FORMATS)
    assert all(len(list(filter(None, block.splitlines()))) <= 6 for _, block in blocks)
    (basis, prepare), *loading = blocks
    # Those that need the same package run together, since TensorFlow takes seconds to start.
    programs = {package: [f"photograph = {str(photograph)!r}", prepare] for package, _ in loading}
    for name, (package, block) in zip(FORMATS, loading, strict=True):
        answer = f"print('ANSWER', {name!r}, labels[scores.argmax()], scores.max())"
        programs[package] += [block, answer]

    printed = [
        run_with((*basis.split(), package), "\n".join(lines), cwd=exported)
        for package, lines in programs.items()
    ]

    answers = re.findall(r"^ANSWER (\S+) (\w+) (\S+)$", "\n".join(printed), re.MULTILINE)
    (expected,) = classify_files(exported, [str(photograph)], 1)
    label, score = expected.ranked[0]
    assert sorted(name for name, _, _ in answers) == sorted(FORMATS)
    for name, found_label, found in answers:
        assert found_label == label
        assert float(found) == pytest.approx(score, abs=FORMATS[name].tolerance or 0.1)


def test_the_model_card_says_what_it_is(exported):
    text = (exported / "README.md").read_text()

    card = load_model(exported).card
    assert "The folder `flowers`" in text
    assert f"| training | {card.counts['training']} |" in text
    assert f"| test | {card.metrics['test_accuracy']:.1%} |" in text
    assert "Apache 2.0" in text
    assert card.weights in text
    for label in card.labels:
        assert f"`{label}`" in text


def test_an_export_is_a_model_for_classify(exported, flowers, data):
    picture = data / "flowers" / "roses" / sorted((data / "flowers" / "roses").iterdir())[0].name

    one, _ = poets("classify", picture, "--model", exported)
    other, _ = poets("classify", picture, "--model", flowers.result["model"])

    assert one == other


@pytest.mark.stack
def test_an_export_is_a_model_for_classify_dir(exported, data, tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for path in sorted((data / "flowers" / "daisy").iterdir())[:8]:
        (folder / path.name).write_bytes(path.read_bytes())

    job = poets_json("classify-dir", folder, "--model", exported, "-o", tmp_path / "labels.csv")

    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert job["ok"] == len(rows) == 8
    assert sum(row["label"] == "daisy" for row in rows) >= 7


def test_the_command_says_how_near_each_format_is(handed_out):
    target, printed = handed_out

    assert {path.name for path in target.iterdir()} == {
        "README.md", "model.json", "head.npz", "labels.txt", "backbone.tflite",
        *(file for row in FORMATS.values() for file in row.files),
    }  # fmt: skip
    assert printed.count("same label 100.0%") >= sum(
        row.tolerance is not None for row in FORMATS.values()
    )
