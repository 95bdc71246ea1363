"""Every command: its help, its JSON, its exit code, and no traceback."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.commands.again import _print_board
from cli.main import SECTIONS
from cli.training_options import HEAD_OPTIONS, training_options
from orchestrator.driving.result import LabellingResult
from tests.builders.datasets import make_data_set
from tests.builders.pictures import make_picture
from tests.builders.programs import invoke
from tests.builders.runs import make_result, make_run
from workers.backbones.table import BACKBONES
from workers.processes.capacity import default_concurrency, default_threads
from workers.storage.plan import TrainingOptions

# Fields of TrainingOptions that no flag sets.
NOT_FLAGS = {"multi_label", "evaluate_test", "split_exceptions"}
COMMANDS = [name for section in SECTIONS.values() for name in section]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name):
    result = invoke(name, "--help")

    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert f"poets {name}" in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_overview_says_what_the_help_of_a_command_begins_with(name):
    texts = {command: text for section in SECTIONS.values() for command, text in section.items()}

    lines = invoke(name, "--help").stdout.splitlines()

    assert lines[2].strip() == texts[name]


def test_the_overview_lists_every_command():
    result = invoke("--help")

    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"  {name} " in result.stdout


def test_a_mistyped_command_is_a_usage_error_with_the_nearest_one():
    result = invoke("submit-datset", "x")

    assert result.exit_code == 2
    assert "'submit-dataset'" in result.stderr


def test_an_expected_error_is_one_line_and_exit_code_1(tmp_path):
    result = invoke("submit-dataset", tmp_path / "nowhere")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"Error: There is no folder '{tmp_path}/nowhere'. Check the path.\n"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--learning-rate", "nan"),
        ("--learning-rate", "inf"),
        ("--learning-rate", 0),
        ("--testing-percentage", "nan"),
        ("--validation-percentage", 95),
        ("--batch-size", 4097),
    ],
)
def test_a_number_that_cannot_work_is_a_usage_error(tmp_path, option, value):
    result = invoke("submit-dataset", tmp_path, option, value)

    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


def test_a_wrong_setting_is_a_usage_error():
    result = invoke("runs", "--storage", "s3://bucket/x")

    assert result.exit_code == 2
    assert "local or shared" in result.stderr


def test_a_missing_folder_is_what_is_complained_of_first(tmp_path):
    (tmp_path / "labels.csv").touch()

    result = invoke("classify-dir", tmp_path / "nowhere", "-o", tmp_path / "labels.csv")

    assert result.exit_code == 1
    assert "There is no folder" in result.stderr


def test_debug_shows_the_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "submit-dataset", str(tmp_path / "no"), "--debug"],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_an_error_of_ours_is_one_line_too(monkeypatch):
    def break_down(*_):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("orchestrator.runs.list_states", break_down)

    result = invoke("runs")

    assert result.exit_code == 1
    assert result.stderr == "Error: ZeroDivisionError: oops (--debug shows where)\n"


def test_architectures_lists_all_with_sizes():
    table = invoke("architectures").stdout
    rows = json.loads(invoke("architectures", "--json").stdout)

    assert len(rows) == len(BACKBONES) == 39
    for name in BACKBONES:
        assert f"{name} " in table
    assert rows[0].keys() >= {"name", "input_size", "bottleneck_size", "parameters", "source"}


def test_no_runs_is_said_and_json_is_an_empty_list():
    assert "No runs" in invoke("runs").stderr
    assert json.loads(invoke("runs", "--json").stdout) == []


def test_runs_and_show_tell_how_a_run_stands(ready_storage, tmp_path, monkeypatch):
    run = make_run(ready_storage, make_data_set(tmp_path / "photos"), "spring")
    os.utime(run.folder.plan, (1, 1))

    assert "spring  train  stalled" in invoke("runs").stdout
    shown = invoke("show", "spring").stdout
    assert "is stalled: nobody drives it; `poets resume spring` continues it" in shown
    assert "0 of 3 done" in shown
    assert json.loads(invoke("show", "spring", "--json").stdout)["state"] == "stalled"
    monkeypatch.delenv("POETS_STORAGE")
    named = f"poets resume spring --storage {ready_storage.root}"
    assert named in invoke("runs", "--storage", ready_storage.root).stdout


def test_quarantine_lists_images_with_reasons_and_escapes_what_a_terminal_obeys(
    ready_storage, tmp_path
):
    photos = make_data_set(tmp_path / "photos")
    (photos / "red" / "two\nlines\x1b[2J.jpg").write_bytes(b"")
    run = make_run(ready_storage, photos, "spring")
    run.folder.model.mkdir()
    (run.folder.model / "quarantine.csv").write_text(
        'path,reason\n"red/two\nlines\x1b[2J.jpg",empty\n'
    )

    table = invoke("quarantine", "spring")
    listed = json.loads(invoke("quarantine", "spring", "--json").stdout)

    assert table.stdout.splitlines()[1].split() == ["red/two\\nlines\\x1b[2J.jpg", "red", "empty"]
    assert "1 of 25 images of run spring are in quarantine so far." in table.stderr
    assert listed == {
        "run": "spring",
        "is_finished": False,
        "images": 25,
        "quarantined": [
            {
                "path": "red/two\nlines\x1b[2J.jpg",
                "absolute_path": f"{photos}/red/two\nlines\x1b[2J.jpg",
                "label": "red",
                "reason": "empty",
            }
        ],
    }


def test_an_empty_quarantine_is_said_and_copies_nothing(ready_storage, tmp_path):
    make_run(ready_storage, make_data_set(tmp_path / "photos"), "spring").folder.result.write_text(
        "{}"
    )

    result = invoke("quarantine", "spring", "--copy-to", tmp_path / "bad")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "No image of run spring is in quarantine.\n"
    assert not (tmp_path / "bad").exists()


def test_a_retry_of_nothing_is_said(ready_storage, tmp_path):
    make_run(ready_storage, make_data_set(tmp_path / "photos"), "spring").folder.result.write_text(
        "{}"
    )

    result = invoke("retry", "spring", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"run": "spring", "retried": 0}
    assert "No image of run spring has failed" in result.stderr
    assert len(list(ready_storage.runs.iterdir())) == 1


def test_a_result_of_a_retry_counts_what_was_mended(capsys):
    from cli.attend import print_result

    print_result(replace(RESULT, quarantined=2, retried=12, repaired=10), "")

    assert "retried     12: 10 repaired, 2 failed again" in capsys.readouterr().out


def test_report_says_when_there_is_nothing_to_show_yet(ready_storage, tmp_path):
    make_run(ready_storage, make_data_set(tmp_path / "photos"), name="a-run")

    result = invoke("report", "a-run")

    assert result.exit_code == 1
    assert "holds no model" in result.stderr


def test_show_says_that_a_run_has_failed(ready_storage, tmp_path):
    run = make_run(ready_storage, make_data_set(tmp_path / "photos"), "spring")
    run.folder.failure.write_text('{"reason": "bad weights"}')

    assert "Run spring has failed: bad weights" in invoke("show", "spring").stdout


def test_cancel_marks_the_run(ready_storage, tmp_path):
    make_run(ready_storage, make_data_set(tmp_path / "photos"), "spring")

    result = invoke("cancel", "spring", "--json")

    assert json.loads(result.stdout) == {"run": "spring", "state": "cancelled"}
    assert json.loads(invoke("show", "spring", "--json").stdout)["state"] == "cancelled"


@pytest.mark.parametrize(
    "command", ["show", "report", "cancel", "resume", "tensorboard", "quarantine", "retry"]
)
def test_a_run_that_is_not_there_is_said(command):
    result = invoke(command, "nothing")

    assert result.exit_code == 1
    assert "There is no run 'nothing'" in result.stderr


def test_status_without_a_stack_says_that_none_is_needed():
    assert "No broker is up" in invoke("status").stdout
    assert json.loads(invoke("status", "--json").stdout)["broker"] is None
    assert "no stack" in invoke("down").stderr


def test_status_and_doctor_with_a_broker_that_nobody_works_for(broker_url):
    status = invoke("status").stdout
    doctor = invoke("doctor")

    assert "bottleneck 0, train 0, infer 0" in status
    assert "workers      none" in status
    assert doctor.exit_code == 1
    assert "FIX  workers" in doctor.stdout
    assert "poets worker" in doctor.stdout


def test_doctor_says_what_to_do_about_each_thing(tmp_path):
    (tmp_path / "file").write_text("")

    result = invoke("doctor", "--json", "--storage", tmp_path / "file" / "storage")

    checks = {check["name"]: check for check in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert checks["packages"]["is_ok"]
    assert "POETS_STORAGE" in checks["storage"]["text"]
    assert "poets fetch-weights mobilenet_0.50_224" in checks["weights"]["text"]


def test_doctor_says_what_chose_itself_and_why():
    checks = {check["name"]: check for check in json.loads(invoke("doctor", "--json").stdout)}

    assert checks["processes"]["text"] == str(default_concurrency("auto"))
    assert checks["threads"]["text"] == str(default_threads("auto"))
    assert "MB of memory" in checks["memory"]["text"]
    assert "32 to 512" in checks["batches"]["text"]


def test_doctor_is_content_when_the_weights_are_there(data):
    result = invoke("doctor", "--weights-dir", data / "weights")

    assert result.exit_code == 0
    assert "FIX" not in result.stdout


def test_fetch_weights_puts_them_into_storage(data, tmp_path):
    result = invoke(
        "fetch-weights", "mobilenet_0.25_128", "--weights-dir", data / "weights", "--json"
    )

    found = json.loads(result.stdout)
    assert os.path.getsize(found["path"]) > 1e6
    again = invoke("fetch-weights", "mobilenet_0.25_128", "--json")
    assert json.loads(again.stdout) == found


def test_completion_prints_a_script():
    assert "_POETS_COMPLETE" in invoke("completion", "bash").stdout


def test_flower_refuses_to_be_open_to_all():
    result = invoke("flower", "--address", "0.0.0.0")

    assert result.exit_code == 2
    assert "--basic-auth" in result.stderr


def test_flower_says_when_its_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = invoke("flower", "--port", taken.getsockname()[1])

    assert result.exit_code == 1
    assert "Give another --port" in result.stderr


def test_tensorboard_refuses_to_be_open_to_all():
    result = invoke("tensorboard", "--address", "0.0.0.0")

    assert result.exit_code == 2
    assert "has no password" in result.stderr
    assert "ssh -L 6006:127.0.0.1:6006" in result.stderr


def test_tensorboard_says_when_its_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = invoke("tensorboard", "--port", taken.getsockname()[1])

    assert result.exit_code == 1
    assert "Give another --port" in result.stderr


def test_tensorboard_says_when_a_run_has_nothing_to_show(ready_storage, tmp_path):
    make_run(ready_storage, make_data_set(tmp_path / "photos"), "spring")

    result = invoke("tensorboard", "spring")

    assert result.exit_code == 1
    assert "'spring' has no summaries: its training has not begun" in result.stderr


def test_a_worker_without_a_broker_says_what_to_do():
    result = invoke("worker")

    assert result.exit_code == 1
    assert "poets up" in result.stderr


def test_a_worker_refuses_queues_that_nobody_fills():
    assert "Unknown queue 'gpu'" in invoke("worker", "--queues", "infer,gpu").stderr


def test_up_with_a_broker_configured_says_that_there_is_nothing_to_start(broker_url):
    assert "nothing to start" in invoke("up").stderr


def test_classify_dir_needs_an_ending_it_knows(tmp_path):
    result = invoke("classify-dir", tmp_path, "--output", "labels.xls")

    assert result.exit_code == 2
    assert "--format" in result.stderr


def test_classify_dir_without_a_model_says_how_to_make_one(tmp_path):
    make_picture(tmp_path / "photos" / "a.jpg", (1, 2, 3))

    result = invoke("classify-dir", tmp_path / "photos", "--output", tmp_path / "labels.csv")

    assert result.exit_code == 1
    assert "poets submit-dataset DIR" in result.stderr


def test_detach_on_a_shared_broker_needs_a_coordinator(broker_url, tmp_path):
    photos = make_data_set(tmp_path / "photos")

    result = invoke("submit-dataset", photos, "--weights", "random-0", "--detach")

    assert result.exit_code == 1
    assert "poets coordinator" in result.stderr
    assert "No runs" in invoke("runs").stderr


RESULT = make_result(
    images=50,
    labels=("a", "b"),
    computed=50,
    training=40,
    validation=5,
    testing=5,
    validation_accuracy=0.8,
    test_accuracy=0.9,
    model="/m",
    seconds=3.0,
)
JOB = LabellingResult(
    job="j",
    images=9,
    ok=5,
    unsure=3,
    failed=1,
    output="l.csv",
    model="m",
    seconds=1,
    images_per_second=9,
)


def training_command():
    from cli import training_options as flags

    values = {}
    groups = (flags.SPLIT_OPTIONS, flags.HEAD_OPTIONS, flags.DISTORTION_OPTIONS)
    decorate = flags.training_options(*groups)

    @click.command()
    @decorate
    def command(training):
        values.update(training)

    return command, values


def test_the_flags_of_training_are_the_fields_of_its_options():
    command, values = training_command()
    fields = vars(TrainingOptions())

    assert CliRunner().invoke(command, []).exit_code == 0
    assert values == {}
    assert {option.name for option in command.params} == fields.keys() - NOT_FLAGS
    for option in command.params:
        stated = re.search(r"\[(\w[\w.]*)\]$", option.help or "")
        assert stated is None or stated[1] == str(fields[option.name]), option.name


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--learning-rate", "0.5"], {"learning_rate": 0.5, "solver": "sgd"}),
        (["--solver", "sgd"], {"solver": "sgd"}),
        (["--class-weight", "balanced"], {"class_weight": "balanced"}),
        (["--flip-left-right"], {"flip_left_right": True}),
    ],
)
def test_a_flag_that_only_sgd_obeys_chooses_sgd(arguments, expected):
    command, values = training_command()

    assert CliRunner().invoke(command, arguments).exit_code == 0
    assert values == expected


def test_a_flag_that_would_mean_nothing_is_refused():
    command, _ = training_command()

    result = CliRunner().invoke(command, ["--solver", "lbfgs", "--steps", "9"])

    assert result.exit_code == 2
    assert "--steps is only for --solver sgd" in result.stderr


@pytest.mark.parametrize(
    ("figures", "least", "reason"),
    [
        ({}, 0.9, None),
        ({}, 0.91, "test accuracy of 90.00% is below the 91.00%"),
        ({"test_accuracy": None}, 0.8, None),
        ({"test_accuracy": None}, 0.81, "validation accuracy of 80.00%"),
        ({"test_accuracy": None, "validation_accuracy": None}, 0, "No image was held out"),
    ],
)
def test_an_accuracy_can_be_asserted(figures, least, reason):
    from cli.attend import assert_accuracy
    from workers.errors import AccuracyError

    refused = pytest.raises(AccuracyError, match=reason) if reason else contextlib.nullcontext()
    with refused:
        assert_accuracy(replace(RESULT, **figures), least)


def test_an_assertion_cannot_wait_for_a_detached_run(tmp_path):
    result = invoke("submit-dataset", tmp_path, "--assert-accuracy-at-least", "0.9", "--detach")

    assert result.exit_code == 2
    assert "leave out --detach" in result.stderr


@pytest.mark.parametrize("share", ["0", "0%", "101", "100", "1"])
def test_a_target_precision_is_above_0_and_below_100_percent(tmp_path, share):
    assert invoke("submit-dataset", tmp_path, "--target-precision", share).exit_code == 2


def test_a_target_precision_that_cannot_be_promised_is_refused_with_what_to_write(tmp_path):
    certain = invoke("submit-dataset", tmp_path, "--target-precision", "100%")

    assert certain.exit_code == 2
    assert "no number of photographs can promise 100%. Write 98%, say." in certain.stderr


def test_a_target_precision_can_be_taken_off():
    @click.command()
    @training_options(HEAD_OPTIONS)
    def show(training):
        click.echo(repr(training))

    def given(*arguments):
        return CliRunner().invoke(show, arguments).stdout.strip()

    assert given() == "{}"
    assert given("--target-precision", "98%") == "{'target_precision': 0.98}"
    assert given("--target-precision", "none") == "{'target_precision': None}"


PROMISE = {
    **{"target": 0.98, "threshold": 0.9134, "bound": 0.981, "judged": 820, "sure": 311},
    **{"right": 310, "needed": 149, "confidence": 0.95, "coverage": 0.379},
}


def test_a_result_says_what_is_promised_and_what_the_test_shows(capsys):
    from cli.attend import print_result

    sure = {"images": 30, "accuracy": 29 / 30, "accuracy_interval": [0.833, 0.994]}
    print_result(replace(RESULT, testing=80, promise=PROMISE, test_sure=sure), "")

    found = capsys.readouterr().out
    assert "98% of the sure labels right: scores from 0.9134 on" in found
    assert "(310 of 311 right; at least 98.1% with 95% confidence)" in found
    assert "38% of photographs like these" in found
    assert "30 of 80: 96.7% right (83.3 to 99.4%)" in found


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"judged": 96}, "it takes 149 photographs without a mistake; 96 are here"),
        ({"bound": 0.971}, "at best 97.1% can be (310 of 311 right)"),
    ],
)
def test_a_result_says_why_nothing_is_promised(facts, why, capsys):
    from cli.attend import print_result

    none = {"images": 0, "accuracy": None, "accuracy_interval": None}
    promise = {**PROMISE, "threshold": None, **facts}
    print_result(replace(RESULT, promise=promise, test_sure=none), "")

    found = capsys.readouterr().out
    assert "none: 98% cannot be promised" in found
    assert why in found
    assert "every label is unsure" in found


def test_a_result_shows_how_sure_the_accuracy_is_and_what_looks_wrong(capsys):
    from cli.attend import print_result

    print_result(RESULT, "")
    plain = capsys.readouterr().out
    more = {"test_accuracy_interval": [0.821, 0.946], "suspects": 3, "duplicates": 1}
    print_result(replace(RESULT, **more), "")
    full = capsys.readouterr().out

    assert "accuracy    90.0% test, 80.0% validation\n" in plain
    assert "suspects" not in plain
    assert "90.0% test (82.1 to 94.6%)" in full
    assert "suspects    3 images whose label may be wrong: suspects.csv" in full
    assert "duplicates.csv" in full


def test_a_result_names_a_command_that_finds_its_model(capsys):
    from cli.attend import print_result

    print_result(RESULT, " --storage elsewhere")

    assert f"DIR --model {RESULT.run} --storage elsewhere\n" in capsys.readouterr().out


def test_a_labelling_result_counts_unsure_images(capsys):
    from cli.attend import print_result

    print_result(JOB, "")
    unsure = capsys.readouterr().out
    print_result(replace(JOB, unsure=0, images_per_second=1.2), "")
    slow = capsys.readouterr().out

    assert "9: 5 labelled, 3 unsure, 1 failed" in unsure
    assert "9 images a second" in unsure
    assert "unsure" not in slow
    assert "1 image a second" in slow


@pytest.mark.parametrize("name", ["submit-dataset", "classify-dir"])
def test_an_empty_folder_name_is_not_the_current_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(make_data_set(tmp_path / "photos"))

    result = invoke(name, "")

    assert result.exit_code == 2
    assert "it is empty" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["submit-dataset", "mistyped"], ["classify-dir", "mistyped"], ["classify-dir", "."]],
)
def test_a_command_that_cannot_work_makes_no_storage(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    result = invoke(*arguments, "--storage", "elsewhere")

    assert result.exit_code == 1
    assert not Path("elsewhere").exists()


@pytest.mark.parametrize("name", ["submit-dataset", "classify-dir"])
def test_photographs_cannot_lie_in_the_storage_itself(name, tmp_path):
    """Its folders would be labels."""
    photos = make_data_set(tmp_path / "photos")

    result = invoke(name, photos, "--storage", f"{photos}/../photos")

    assert result.exit_code == 2
    assert "cannot be the storage too" in result.stderr
    assert sorted(path.name for path in photos.iterdir()) == ["blue", "red"]


def test_a_sweep_refuses_what_is_no_number():
    result = invoke("sweep", "spring", "--learning-rate", "0.1,nan")

    assert result.exit_code == 2
    assert "not a finite number" in result.stderr


def test_the_reason_of_a_failed_trial_stands_below_the_leader_board(capsys):
    trial = {
        "architecture": "mobilenet_0.50_224",
        "learning_rate": 0.1,
        "validation_accuracy": 0.9,
        "validation_accuracy_interval": [0.8, 0.95],
        "validation_log_loss": 0.3,
        "size_bytes": 3_000_000,
        "images_per_second": None,
    }
    failed = {**trial, "learning_rate": 1e6, "error": "Run 'a.002' failed: it diverged."}

    _print_board([trial, failed], ["learning_rate"])

    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["2", "mobilenet_0.50_224", "1000000.0", "failed"]
    assert lines[3] == failed["error"]
    assert max(map(len, lines[:3])) < 90


@pytest.mark.parametrize(
    "arguments",
    [
        # An error of click's own, of poets, and a result.
        ("runs", "a\x1b[2J\n\u202e"),
        ("classify", "x.jpg", "--storage", "a\x1b[2J\n\u202e"),
        ("check", "photos"),
        ("check", "photos", "--json"),
    ],
)
def test_no_command_for_a_terminal_comes_out_of_a_command(arguments, tmp_path, monkeypatch):
    make_data_set(tmp_path / "photos").joinpath("red").rename(
        tmp_path / "photos" / "a\x1b[2J\n\u202e"
    )
    monkeypatch.chdir(tmp_path)

    result = invoke(*arguments)

    found = result.stdout + result.stderr
    assert "[2J" in found
    assert all(line.isprintable() for line in found.split("\n"))


def test_csv_for_spreadsheets_is_csv(tmp_path):
    result = invoke("classify-dir", tmp_path, "--excel", "--output", tmp_path / "x.parquet")

    assert result.exit_code == 2
    assert "--excel writes CSV" in result.stderr
