"""What other programs leave in the environment."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workers.errors import MachineError
from workers.processes import surroundings
from workers.processes.surroundings import (
    PLAIN_KERAS,
    QUIET_TENSORFLOW,
    check_modules,
    forget_foreign_settings,
)

FOREIGN = {
    "CELERY_BROKER_URL": "redis://elsewhere",
    "CELERY_CONFIG_MODULE": "celeryconfig",
    "DJANGO_SETTINGS_MODULE": "shop.settings",
    "FLOWER_PORT": "1",
    "KERAS_BACKEND": "torch",
    "PICKLE_PROTOCOL": "x",
    "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "cpp",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_USE_LEGACY_KERAS": "1",
    "XLA_FLAGS": "--nonsense",
}
OURS = {
    "CUDA_VISIBLE_DEVICES": "0",
    "KERAS_HOME": "/keras",
    "OMP_NUM_THREADS": "1",
    "POETS_FLOWER_AUTH": "me:secret",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}


def test_what_is_meant_for_other_programs_is_forgotten_and_what_is_for_poets_is_kept(monkeypatch):
    monkeypatch.setattr(surroundings, "forgotten", [])
    environ = {**FOREIGN, **OURS}

    forget_foreign_settings(environ)

    assert environ == OURS
    assert surroundings.forgotten == sorted(FOREIGN)


def test_warnings_that_are_errors_by_the_environment_are_ignored():
    program = (
        "import warnings\n"
        "from workers.processes.surroundings import forget_foreign_settings\n"
        "forget_foreign_settings()\n"
        "warnings.warn('harmless')\n"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "error"}

    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)

    assert (found.returncode, found.stderr) == (0, b"")


@pytest.mark.parametrize("environment", [PLAIN_KERAS, QUIET_TENSORFLOW])
def test_keras_finds_no_settings_file_and_writes_none(environment):
    assert environment["KERAS_BACKEND"] == "tensorflow"
    assert not Path(environment["KERAS_HOME"], "keras.json").exists()
    with pytest.raises(NotADirectoryError):
        Path(environment["KERAS_HOME"], "keras.json").touch()


@pytest.mark.parametrize("name", ["random.py", "numpy.py", "workers/__init__.py", "celery.so"])
def test_a_file_that_takes_the_place_of_a_module_is_named(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()

    with pytest.raises(MachineError, match=f"{tmp_path / name} takes the place of the module"):
        check_modules({"PYTHONPATH": f"/nothing:{tmp_path}"})


def test_other_files_and_folders_of_installed_packages_are_no_concern(tmp_path):
    (tmp_path / "mine.py").touch()
    (tmp_path / "random.txt").touch()
    # A folder without `__init__.py` gives way to a module that comes later.
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "numpy").mkdir()
    (tmp_path / "site" / "numpy" / "__init__.py").touch()
    (tmp_path / "site" / "numpy-2.4.0.dist-info").mkdir()

    check_modules({"PYTHONPATH": f"{tmp_path}:{tmp_path}/site:"})
    check_modules({})


@pytest.mark.tensorflow
def test_a_backbone_is_the_same_whatever_keras_json_says(tmp_path):
    # Keras would refuse even to be imported.
    settings = {"image_data_format": "channels_first", "floatx": "nonsense", "backend": "torch"}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    program = (
        "from workers.backbones.keras import build_keras_model\n"
        "from workers.backbones.table import find_spec\n"
        "model = build_keras_model(find_spec('mobilenet_0.25_128'), None, 'random-0')\n"
        "print(model.input_shape, model.output_shape, model.output.dtype)\n"
    )
    environment = {**os.environ, "KERAS_HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": "-1"}

    found = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )

    assert found.stdout == "(None, 128, 128, 3) (None, 256) float32\n", found.stderr
