"""The codelab's command line, and the right column of docs/from-the-codelab.md, run for real."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from orchestrator.embedded.stack import find_stack
from tests.builders.paths import ROOT
from tests.builders.pictures import COLOURS, make_picture
from tests.builders.programs import our_processes, poets, start, wait_until
from tests.builders.servers import free_port
from workers.leases import Keys, connect
from workers.settings import Settings

pytestmark = [pytest.mark.stack, pytest.mark.tensorflow]
PAGE = ROOT / "docs" / "from-the-codelab.md"
# All that this test changes in the commands of the page: a smaller backbone ...
SMALLER = {"IMAGE_SIZE=224": "IMAGE_SIZE=128", "mobilenet_0.50_": "mobilenet_0.25_"}
# ... and, by programs of their names that come first on the PATH, flags that choose that
# backbone or its size, random weights (no download), and a free port.
POETS = """#!/bin/sh
case "$1" in
retrain) set -- "$@" --weights random-0 ;;
submit-dataset) set -- "$@" --weights random-0 --architecture mobilenet_0.25_128 ;;
label-image) set -- "$@" --input_height 128 --input_width 128 ;;
tensorboard) set -- "$@" --port $PORT ;;
esac
exec {python} -m cli.main "$@"
"""
TENSORBOARD = """#!/bin/sh
exec {python} -m orchestrator.dashboards.tensorboard_program --port $PORT --load_fast=false "$@"
"""
DAISY = "21652746_cc379e0eea_m.jpg"


def make_flowers(folder: Path) -> Path:
    for place, (label, colour) in enumerate(
        {"daisy": COLOURS["blue"], "roses": COLOURS["red"]}.items()
    ):
        for number in range(24):
            make_picture(folder / label / f"{number:03d}.jpg", colour, 1000 * place + number)
    make_picture(folder / "daisy" / DAISY, COLOURS["blue"], 5000)
    return folder


def right_column(title: str) -> list[str]:
    """Return the commands in the right column of the table below a title."""
    section = PAGE.read_text("utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.*) \| (.*) \|$", section, re.MULTILINE)
    return [cell.strip("`") for _, cell in rows if re.fullmatch(r"`[^`]+`", cell)]


@pytest.fixture
def tf_files(tmp_path, real_storage, monkeypatch):
    """The folder of the codelab, whose bottlenecks' storage holds the real backbone."""
    folder = tmp_path / "tf_files"
    make_flowers(folder / "flower_photos")
    make_flowers(folder / "my_photos")
    bottlenecks = folder / "bottlenecks"
    shutil.copytree(real_storage.root / "backbones", bottlenecks / "backbones")
    yield folder
    stack = find_stack(Settings(bottlenecks))
    wait_until(lambda: not our_processes(str(stack.folder)))
    shutil.rmtree(stack.folder)


@pytest.fixture
def shell(tmp_path):
    """Run commands one after the other in one shell, and stop what they leave in the background."""
    programs = tmp_path / "programs"
    programs.mkdir()
    port = free_port()
    for name, text in {"poets": POETS, "tensorboard": TENSORBOARD}.items():
        (programs / name).write_text(text.format(python=sys.executable))
        (programs / name).chmod(0o755)
    mine = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PORT": str(port),
    }
    started = []

    def run(commands: list[str]) -> str:
        script = "\n".join(["set -e", *commands])
        with (tmp_path / "output").open("w+") as output:
            process = subprocess.Popen(
                ["bash", "-c", script],
                stdout=output,
                stderr=output,
                cwd=tmp_path,
                env={**os.environ, **mine},
                start_new_session=True,
            )
            started.append(process)
            code = process.wait()
            output.seek(0)
            text = output.read()
        assert code == 0, text
        assert "Traceback" not in text
        return text

    def shown() -> list[str]:
        """Return the names of what TensorBoard shows; none while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/data/runs") as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            return []

    yield run, shown
    for process in started:
        with_group_gone(process.pid)


def with_group_gone(group: int) -> None:
    """Stop a group of processes, and wait until it is gone."""

    def is_gone() -> bool:
        try:
            os.killpg(group, signal.SIGTERM)
        except ProcessLookupError:
            return True
        return False

    wait_until(is_gone)


def test_the_same_commands_run(tf_files, shell, monkeypatch):
    monkeypatch.delenv("POETS_STORAGE")
    commands = right_column("The same commands")
    for old, new in SMALLER.items():
        commands = [command.replace(old, new) for command in commands]
    run, shown = shell

    text = run(commands)

    assert len(re.findall(r"^Final test accuracy = [\d.]+% \(N=\d+\)$", text, re.M)) == 2
    assert re.search(r"^(daisy|roses) \(score=0\.\d{5}\)$", text, re.M)
    assert (tf_files / "retrained_labels.txt").read_text() == "daisy\nroses\n"
    assert (tf_files / "bottlenecks" / "runs" / "flower_photos-2" / "model").is_dir()
    wanted = {"mobilenet_0.25_128/flower_photos-1/train", "LR_0.5/flower_photos-2/validation"}
    wait_until(lambda: wanted <= set(shown()))


def test_the_shorter_way_runs(tf_files, shell, tmp_path):
    run, shown = shell

    text = run(right_column("The shorter way"))

    assert re.search(r"^daisy \(score = [01]\.\d{5}\)$", text, re.M)
    assert len((tmp_path / "labels.csv").read_text().splitlines()) == 50
    wait_until(lambda: "flowers/train" in shown())


def test_the_whole_command_line_of_the_codelab_leaves_its_files(tf_files, tmp_path, monkeypatch):
    monkeypatch.delenv("POETS_STORAGE")
    (tf_files / "flower_photos" / "roses" / "half.jpg").write_bytes(b"broken")
    out = tmp_path / "out"
    flags = {
        "image_dir": tf_files / "flower_photos",
        "output_graph": out / "graph.pb",
        "intermediate_output_graphs_dir": f"{out}/graphs/",
        "intermediate_store_frequency": 100,
        "output_labels": out / "labels.txt",
        "summaries_dir": out / "logs",
        "how_many_training_steps": 250,
        "learning_rate": 0.5,
        "testing_percentage": 20,
        "validation_percentage": 20,
        "eval_step_interval": 50,
        "train_batch_size": 20,
        "test_batch_size": 6,
        "validation_batch_size": -1,
        "model_dir": tf_files / "models",
        "bottleneck_dir": tf_files / "bottlenecks",
        "final_tensor_name": "answer",
        "random_crop": 5,
        "random_scale": 5,
        "random_brightness": 5,
        "architecture": "mobilenet_0.25_128",
    }

    stdout, stderr = poets(
        "retrain",
        *(f"--{name}={value}" for name, value in flags.items()),
        "--print_misclassified_test_images",
        "--flip_left_right",
        "--weights=random-0",
    )

    run = tf_files / "bottlenecks" / "runs" / "flower_photos-1"
    line, *wrong = stdout.splitlines()
    accuracy = re.fullmatch(r"Final test accuracy = ([\d.]+)% \(N=6\)", line)[1]
    assert wrong[0] == "=== MISCLASSIFIED TEST IMAGES ==="
    assert float(accuracy) == round(100 * (1 - len(wrong[1:]) / 6), 1)
    for row in wrong[1:]:
        path, predicted = row.split()
        assert Path(path).is_file()
        assert predicted in {"daisy", "roses"} - {Path(path).parent.name}
    steps = re.findall(
        r"^[\d-]+ [\d:.]+: Step (\d+): Train accuracy = [\d.]+%$", stderr, re.MULTILINE
    )
    assert steps == ["0", "50", "100", "150", "200", "249"]
    for text in (r"Cross entropy = \d\.\d{6}$", r"Validation accuracy = [\d.]+% \(N=\d+\)$"):
        assert len(re.findall(text, stderr, re.MULTILINE)) == len(steps)
    assert "1 of 50 images could not be read" in stderr
    lines = stderr.splitlines()
    assert {f"Looking for images in '{label}'" for label in ("daisy", "roses")} <= set(lines)
    (shards,) = (tf_files / "bottlenecks" / "bottlenecks").iterdir()
    created = [line for line in lines if line.startswith("Creating bottleneck at ")]
    assert set(created) == {f"Creating bottleneck at {path}" for path in shards.rglob("*.arrow")}
    assert re.search(r"^\d00 bottleneck files created\.$", stderr, re.MULTILINE)
    graphs = [out / "graphs" / f"intermediate_{step}.pb" for step in (100, 200)]
    assert lines[-4:-2] == [f"Save intermediate result to : {path}" for path in graphs]
    assert (out / "labels.txt").read_text() == "daisy\nroses\n"
    heads = {
        out / "graph.pb": run / "model" / "head.npz",
        out / "graphs" / "intermediate_100.pb": run / "heads" / "100.npz",
        out / "graphs" / "intermediate_200.pb": run / "heads" / "200.npz",
    }
    assert sorted((out / "graphs").iterdir()) == list(heads)[1:]
    for graph, head in heads.items():
        content = graph.read_bytes()
        with np.load(head) as arrays:
            assert arrays["weights"].tobytes() in content
        assert b"answer" in content
    for split in ("train", "validation"):
        (events,) = (out / "logs" / "flower_photos-1" / split).iterdir()
        assert events.stat().st_size
    card = json.loads((run / "model" / "model.json").read_bytes())
    assert card["counts"]["variants"] == 8 * card["counts"]["training"]


def test_the_flags_of_poets_work_too(tf_files, tmp_path):
    graph, labels = tmp_path / "graph.pb", tmp_path / "labels.txt"

    out, err = poets(
        "retrain", "--image-dir", tf_files / "flower_photos", "--testing-percentage", 0,
        "--output-graph", graph, "--output-labels", labels, "--summaries-dir", tmp_path / "logs",
        "--architecture", "mobilenet_0.25_128", "--weights", "random-0", "--quiet", "--json",
        "--storage", tf_files / "bottlenecks",
    )  # fmt: skip

    assert err == ""
    result = json.loads(out)
    assert Path(result["model"]).is_relative_to(tf_files / "bottlenecks" / "runs")
    assert (result["output_graph"], result["output_labels"]) == (str(graph), str(labels))
    assert (result["final_test_accuracy"], result["final_test_images"]) == (None, 0)
    assert result["misclassified"] == result["intermediate_graphs"] == []
    assert graph.is_file()
    assert labels.is_file()


def is_driven(tf_files, run):
    stack = find_stack(Settings(tf_files / "bottlenecks"))
    is_up = stack.running() is not None
    return is_up and bool(connect(stack.broker_url).exists(Keys(run).driver_lock))


def test_resume_leaves_the_files_of_a_retrain_that_was_stopped(tf_files, tmp_path):
    out = tmp_path / "out"
    bottlenecks = ("--storage", tf_files / "bottlenecks")
    process = start(
        "retrain", "--image_dir", tf_files / "flower_photos", "--how_many_training_steps=40000",
        "--intermediate_store_frequency=30000", f"--intermediate_output_graphs_dir={out}/graphs/",
        "--output_graph", out / "graph.pb", "--output_labels", out / "labels.txt",
        "--summaries_dir", out / "logs", "--architecture=mobilenet_0.25_128", "--weights=random-0",
        "--test_batch_size=3", *bottlenecks,
    )  # fmt: skip
    run = tf_files / "bottlenecks" / "runs" / "flower_photos-1"
    # Its files are named, and it drives the run: an earlier Ctrl-C may hit an import, and Python
    # then ends by the signal.
    wait_until(lambda: (run / "retrain.json").exists() and is_driven(tf_files, run.name))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert not (out / "graph.pb").exists()

    stdout, stderr = poets("resume", "flower_photos-1", *bottlenecks)
    again, _ = poets("resume", "flower_photos-1", *bottlenecks)

    assert re.fullmatch(r"Final test accuracy = [\d.]+% \(N=3\)\n", stdout)
    assert re.search(r"Step 39999: Train accuracy", stderr)
    assert (out / "labels.txt").read_text() == "daisy\nroses\n"
    with np.load(run / "model" / "head.npz") as arrays:
        assert arrays["weights"].tobytes() in (out / "graph.pb").read_bytes()
    assert [path.name for path in (out / "graphs").iterdir()] == ["intermediate_30000.pb"]
    assert "Run flower_photos-1 has finished" in again
