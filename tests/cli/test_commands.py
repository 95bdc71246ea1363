"""Every command: its help, its JSON, its exit code, and no traceback."""

import json
import os
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cli.main import SECTIONS, main
from tests.made import make_data_set, make_picture, make_run
from workers.backbones.table import BACKBONES

COMMANDS = [name for section in SECTIONS.values() for name in section]


def poets(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name):
    result = poets(name, "--help")

    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert f"poets {name}" in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_help_that_the_overview_promises(name):
    import importlib

    module = importlib.import_module(f"cli.commands.{name.replace('-', '_')}")

    assert module.command.name == name


def test_the_overview_lists_every_command():
    result = poets("--help")

    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"  {name} " in result.stdout


def test_a_mistyped_command_is_a_usage_error_with_the_nearest_one():
    result = poets("submit-datset", "x")

    assert result.exit_code == 2
    assert "'submit-dataset'" in result.stderr


def test_an_expected_error_is_one_line_and_exit_code_1(tmp_path):
    result = poets("submit-dataset", tmp_path / "nowhere")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"Error: There is no folder '{tmp_path}/nowhere'. Check the path.\n"


def test_a_wrong_setting_is_a_usage_error():
    result = poets("runs", "--storage", "s3://bucket/x")

    assert result.exit_code == 2
    assert "local or shared" in result.stderr


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

    result = poets("runs")

    assert result.exit_code == 1
    assert result.stderr == "Error: ZeroDivisionError: oops (--debug shows where)\n"


def test_architectures_lists_all_with_sizes():
    table = poets("architectures").stdout
    rows = json.loads(poets("architectures", "--json").stdout)

    assert len(rows) == len(BACKBONES) == 39
    for name in BACKBONES:
        assert f"{name} " in table
    assert rows[0].keys() >= {"name", "input_size", "bottleneck_size", "parameters", "source"}


def test_no_runs_is_said_and_json_is_an_empty_list():
    assert "No runs" in poets("runs").stderr
    assert json.loads(poets("runs", "--json").stdout) == []


def test_runs_and_show_tell_how_a_run_stands(ready_storage, tmp_path):
    make_run(ready_storage, make_data_set(tmp_path / "photos"), "spring")

    assert "spring  train  stopped" in poets("runs").stdout
    shown = poets("show", "spring").stdout
    assert "is stopped: `poets resume spring`" in shown
    assert "0 of 3 done" in shown
    assert json.loads(poets("show", "spring", "--json").stdout)["state"] == "stopped"


def test_report_says_when_there_is_nothing_to_show_yet(ready_storage, tmp_path):
    make_run(ready_storage, make_data_set(tmp_path / "photos"), name="a-run")

    result = poets("report", "a-run")

    assert result.exit_code == 1
    assert "holds no model" in result.stderr


def test_cancel_marks_the_run(ready_storage, tmp_path):
    make_run(ready_storage, make_data_set(tmp_path / "photos"), "spring")

    result = poets("cancel", "spring", "--json")

    assert json.loads(result.stdout) == {"run": "spring", "state": "cancelled"}
    assert json.loads(poets("show", "spring", "--json").stdout)["state"] == "cancelled"


@pytest.mark.parametrize("command", ["show", "report", "cancel", "resume"])
def test_a_run_that_is_not_there_is_said(command):
    result = poets(command, "nothing")

    assert result.exit_code == 1
    assert "There is no run 'nothing'" in result.stderr


def test_status_without_a_stack_says_that_none_is_needed():
    assert "No broker is up" in poets("status").stdout
    assert json.loads(poets("status", "--json").stdout)["broker"] is None
    assert "no stack" in poets("down").stderr


def test_status_and_doctor_with_a_broker_that_nobody_works_for(broker_url):
    status = poets("status").stdout
    doctor = poets("doctor")

    assert "bottleneck 0, train 0, infer 0" in status
    assert "workers      none" in status
    assert doctor.exit_code == 1
    assert "FIX  workers" in doctor.stdout
    assert "poets worker" in doctor.stdout


def test_doctor_says_what_to_do_about_each_thing(tmp_path):
    (tmp_path / "file").write_text("")

    result = poets("doctor", "--json", "--storage", tmp_path / "file" / "storage")

    checks = {check["name"]: check for check in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert checks["packages"]["is_ok"]
    assert "POETS_STORAGE" in checks["storage"]["text"]
    assert "poets fetch-weights mobilenet_0.50_224" in checks["weights"]["text"]


def test_doctor_is_content_when_the_weights_are_there(data):
    result = poets("doctor", "--weights-dir", data / "weights")

    assert result.exit_code == 0
    assert "FIX" not in result.stdout


def test_fetch_weights_puts_them_into_storage(data, tmp_path):
    result = poets(
        "fetch-weights", "mobilenet_0.25_128", "--weights-dir", data / "weights", "--json"
    )

    found = json.loads(result.stdout)
    assert os.path.getsize(found["path"]) > 1e6
    again = poets("fetch-weights", "mobilenet_0.25_128", "--json")
    assert json.loads(again.stdout) == found


def test_completion_prints_a_script():
    assert "_POETS_COMPLETE" in poets("completion", "bash").stdout


def test_flower_refuses_to_be_open_to_all():
    result = poets("flower", "--address", "0.0.0.0")

    assert result.exit_code == 2
    assert "--basic-auth" in result.stderr


def test_flower_says_when_its_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = poets("flower", "--port", taken.getsockname()[1])

    assert result.exit_code == 2
    assert "Give another --port" in result.stderr


def test_a_worker_without_a_broker_says_what_to_do():
    result = poets("worker")

    assert result.exit_code == 1
    assert "poets up" in result.stderr


def test_a_worker_refuses_queues_that_nobody_fills():
    assert "Unknown queue 'gpu'" in poets("worker", "--queues", "infer,gpu").stderr


def test_up_with_a_broker_configured_says_that_there_is_nothing_to_start(broker_url):
    assert "nothing to start" in poets("up").stderr


def test_classify_dir_needs_an_ending_it_knows(tmp_path):
    result = poets("classify-dir", tmp_path, "--output", "labels.xls")

    assert result.exit_code == 2
    assert "--format" in result.stderr


def test_classify_dir_without_a_model_says_how_to_make_one(tmp_path):
    make_picture(tmp_path / "photos" / "a.jpg", (1, 2, 3))

    result = poets("classify-dir", tmp_path / "photos", "--output", tmp_path / "labels.csv")

    assert result.exit_code == 1
    assert "poets submit-dataset DIR" in result.stderr


def test_detach_on_a_shared_broker_needs_a_coordinator(broker_url, tmp_path):
    photos = make_data_set(tmp_path / "photos")

    result = poets("submit-dataset", photos, "--weights", "random-0", "--detach")

    assert result.exit_code == 1
    assert "poets coordinator" in result.stderr
    assert "No runs" in poets("runs").stderr
