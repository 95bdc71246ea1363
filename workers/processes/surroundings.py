"""Settings of other programs in the environment, which the libraries of poets would obey."""

import os
import pkgutil
import sys
import warnings
from collections.abc import Iterator, Mapping, MutableMapping
from importlib.machinery import PathFinder
from pathlib import Path

from workers.errors import MachineError

# Celery sends to CELERY_BROKER_URL whatever it was told; Keras takes another backend; unknown
# XLA_FLAGS end the process.
_PREFIXES = ("CELERY_", "FLOWER_", "KERAS_", "KOMBU_", "TF_CPP_")
_NAMES = (
    *("C_BENCH", "C_REMDEBUG", "C_WNOCONF", "DISABLE_TRACEBACKS", "DJANGO_SETTINGS_MODULE"),
    *("EVENTLET_NOBLOCK", "FORKED_BY_MULTIPROCESSING", "MP_LOG", "PICKLE_PROTOCOL"),
    *("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "REMAP_SIGTERM"),
    *("TF2_BEHAVIOR", "TF_ENABLE_ONEDNN_OPTS", "TF_USE_LEGACY_KERAS", "TF_XLA_FLAGS", "XLA_FLAGS"),
    "PYTHONWARNINGS",
)
# Where Keras keeps its downloads, in which poets looks for weights too.
_KEPT = ("KERAS_HOME",)

# Keras as it comes. It has no settings file where there is no folder, and writes none.
PLAIN_KERAS = {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": os.devnull}
# Environment of a program that uses TensorFlow: no log, no GPU.
QUIET_TENSORFLOW = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
    # Weights never change, and not every file system has locks.
    "HDF5_USE_FILE_LOCKING": "FALSE",
    **PLAIN_KERAS,
}

_LIBRARIES = (
    *("celery", "cli", "click", "flower", "keras", "kombu", "msgspec", "numpy", "orchestrator"),
    *("PIL", "pyarrow", "redis", "rich", "tensorflow", "workers"),
)

# What `forget_foreign_settings` has removed here.
forgotten: list[str] = []


def forget_foreign_settings(environ: MutableMapping[str, str] = os.environ) -> None:
    """Remove what is meant for other programs from the environment of this process and its own.

    Call it before a library that reads its settings is imported.
    """
    found = sorted(_find_foreign(environ))
    for name in found:
        del environ[name]
    if "PYTHONWARNINGS" in found:
        # It has taken effect already.
        warnings.simplefilter("ignore")
    forgotten.extend(found)


def _find_foreign(environ: MutableMapping[str, str]) -> Iterator[str]:
    for name in environ:
        if (name.startswith(_PREFIXES) or name in _NAMES) and name not in _KEPT:
            yield name


def check_modules(environ: Mapping[str, str] = os.environ) -> None:
    """See that no file in a folder of PYTHONPATH takes the place of a module that poets needs.

    Raises:
        MachineError: Names the file.
    """
    for folder in filter(None, environ.get("PYTHONPATH", "").split(os.pathsep)):
        found = {module.name: module for module in pkgutil.iter_modules([folder])}
        # Packages that were installed there belong together.
        is_installation = any(Path(folder).glob("*.dist-info"))
        needed = {*sys.stdlib_module_names, *(() if is_installation else _LIBRARIES)}
        for name in sorted(needed & found.keys()):
            spec = PathFinder.find_spec(name, [folder])
            raise MachineError(
                f"{spec and spec.origin} takes the place of the module {name!r} that poets needs. "
                "Leave the folder out of PYTHONPATH, or rename the file."
            )
