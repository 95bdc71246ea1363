"""A model that is tried on a folder: its figures, and what is said where it cannot be."""

import contextlib
import json

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from orchestrator.exporting import evaluation
from tests.builders.backbones import TINY_FILE
from tests.builders.models import save_tiny_model
from tests.builders.pictures import COLOURS, make_picture
from workers.exports import scoring
from workers.exports.scored_model import Scored

BLUE_AND_RED = {"blue": COLOURS["blue"], "red": COLOURS["red"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model that tells blue from red."""
    return save_tiny_model(tmp_path_factory.mktemp("model") / "model", BLUE_AND_RED)


class InThisProcess(contextlib.AbstractContextManager):
    """Answers as the program does, without the seconds that it takes to start."""

    def answers(self, request, timeout_s):
        found = []
        scoring._answer(request, found.append)
        return iter(found)

    def __exit__(self, *_):
        pass


@pytest.fixture(autouse=True)
def _asked_in_this_process(request, monkeypatch):
    if "in_a_program" not in request.fixturenames:
        monkeypatch.setattr(evaluation, "Child", {Scored: lambda *_, **__: InThisProcess()})


@pytest.fixture
def in_a_program():
    """Let the real program be asked."""


def evaluate(folder, graph, *flags):
    arguments = ["evaluate", folder, "--graph", graph, *flags]
    found = CliRunner().invoke(main, list(map(str, arguments)))
    assert "Traceback" not in found.stderr
    return found.exit_code, found.stdout, " ".join(found.stderr.split())


@pytest.fixture
def photos(tmp_path):
    """Three blue pictures and two red ones; one of each is in the folder of the other."""
    for label, colours in {"blue": ("blue", "blue", "red"), "red": ("red", "blue")}.items():
        for number, colour in enumerate(colours):
            make_picture(tmp_path / "photos" / label / f"{number}.jpg", COLOURS[colour], number)
    return tmp_path / "photos"


def test_the_figures_are_those_of_the_answers(in_a_program, model, photos):
    (photos / "red" / "broken.jpg").write_bytes(b"broken")

    code, out, err = evaluate(photos, model, "--json")

    found = json.loads(out)
    assert code == 0
    assert "red/broken.jpg: " in err
    assert (found["images"], found["accuracy"]) == (5, 0.6)
    assert found["confusion"] == [[2, 1], [1, 1]]
    assert [row["recall"] for row in found["per_label"]] == pytest.approx([2 / 3, 1 / 2])
    assert {(one["path"], one["label"], one["predicted"]) for one in found["mistakes"]} == {
        ("blue/2.jpg", "blue", "red"), ("red/1.jpg", "red", "blue"),
    }  # fmt: skip
    assert [one["path"] for one in found["failed"]] == ["red/broken.jpg"]


def test_a_person_reads_what_the_codelabs_script_prints_and_a_report(model, photos):
    code, out, _ = evaluate(photos, model)

    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "Accuracy: 0.6"
    assert lines[1].startswith("Cross Entropy: ")
    assert lines[2] == "5 images; 95% interval 0.231 to 0.882"
    assert [line.split() for line in lines[5:7]] == [
        ["3", "66.7%", "66.7%", "blue"], ["2", "50.0%", "50.0%", "red"],
    ]  # fmt: skip
    assert [line.split() for line in lines[9:]] == [["1", "blue", "red"], ["1", "red", "blue"]]
    assert max(map(len, lines)) <= 60


def test_a_folder_may_be_called_as_the_codelabs_script_writes_it(photos, tmp_path):
    model = save_tiny_model(
        tmp_path / "model", {"light blue": COLOURS["blue"], "red": COLOURS["red"]}
    )
    (photos / "blue").rename(photos / "Light_Blue")

    code, out, _ = evaluate(photos, model)

    assert (code, out.splitlines()[0]) == (0, "Accuracy: 0.6")


@pytest.mark.parametrize("flag", ["--labels", "--input_mean", "--output_layer", "--input_height"])
def test_a_model_folder_is_not_fed_in_another_way(model, photos, flag):
    code, _, err = evaluate(photos, model, flag, 3)

    assert code == 1
    assert f"leave out {flag}" in err


def test_a_model_of_several_labels_an_image_is_refused(photos, tmp_path):
    model = save_tiny_model(tmp_path / "model", BLUE_AND_RED, "sigmoid")

    code, _, err = evaluate(photos, model)

    assert code == 1
    assert "gives any number of labels" in err


def test_labels_that_the_model_does_not_know_are_named(model, photos):
    (photos / "red").rename(photos / "green")

    code, _, err = evaluate(photos, model)

    assert code == 1
    assert "does not know 'green'" in err
    assert "It knows 'blue', 'red'." in err


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "There is no folder"),
        (lambda folder: folder.mkdir(), "There are no images"),
        (lambda folder: make_picture(folder / "a.jpg", COLOURS["blue"], 1), "directly in it"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(model, tmp_path, make, message):
    make(tmp_path / "other")

    code, _, err = evaluate(tmp_path / "other", model)

    assert code == 1
    assert message in err


def test_a_folder_of_which_nothing_can_be_read_is_refused(model, photos):
    for path in photos.rglob("*.jpg"):
        path.write_bytes(b"broken")

    code, _, err = evaluate(photos, model)

    assert code == 1
    assert "None of 5 images can be read: " in err


def test_there_must_be_a_model_of_this_name(photos):
    code, _, err = evaluate(photos, "nothing")

    assert code == 1
    assert "There is no file, run or model folder 'nothing'. `poets runs` lists the runs." in err


def test_a_litert_file_without_labels_says_where_they_were_looked_for(photos, tmp_path):
    (tmp_path / "graph.lite").write_bytes(TINY_FILE.read_bytes())

    code, _, err = evaluate(photos, tmp_path / "graph.lite")

    assert code == 1
    assert "graph_labels.txt, retrained_labels.txt, labels.txt" in err
    assert "--labels" in err


def test_labels_of_another_graph_are_refused(photos, tmp_path):
    (tmp_path / "graph.lite").write_bytes(TINY_FILE.read_bytes())
    (tmp_path / "labels.txt").write_text("blue\nred\n")

    code, _, err = evaluate(photos, tmp_path / "graph.lite")

    assert code == 1
    assert "There are 2 labels, but the model gives 256 scores" in err


def test_an_output_that_is_no_probability_is_refused(photos, tmp_path):
    (tmp_path / "graph.lite").write_bytes(TINY_FILE.read_bytes())
    (tmp_path / "labels.txt").write_text("\n".join(["blue", "red", *map(str, range(254))]))

    code, _, err = evaluate(photos, tmp_path / "graph.lite")

    assert code == 1
    assert "so they are no probabilities" in err


def test_pictures_that_end_the_program_cost_themselves_alone(in_a_program, model, photos, poison):
    for name in ("kills", "aborts", "exits"):
        (photos / "red" / f"{name}.jpg").write_bytes((photos / "red" / "0.jpg").read_bytes())

    code, out, _ = evaluate(photos, model, "--json")

    found = json.loads(out)
    assert code == 0
    assert found["images"] == np.sum(found["confusion"]) == 5
    assert {one["path"] for one in found["failed"]} == {
        "red/kills.jpg", "red/aborts.jpg", "red/exits.jpg",
    }  # fmt: skip
    assert all("the process that read it" in one["reason"] for one in found["failed"])
