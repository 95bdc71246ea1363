"""A drawn picture shows whether this machine can decode and compute."""

import errno
import os

import pytest

from tests.builders.traps import lay
from workers.bottlenecks import rehearsal
from workers.bottlenecks.rehearsal import rehearse
from workers.errors import PoetsError


def test_a_machine_that_works_says_what_it_did():
    assert rehearse() == "jpg, webp, tif, png decoded, and computed by a tiny network"


DIE = """
def die(module):
    os.kill(os.getpid(), signal.SIGILL)

after_import("workers.backbones.litert", die)
"""


def test_a_process_that_is_ended_says_what_to_do(tmp_path, monkeypatch):
    """As the kernel ends one whose instructions this CPU does not have."""
    for name, value in lay(tmp_path / "traps", DIE).items():
        monkeypatch.setenv(name, value)

    with pytest.raises(PoetsError, match=r"(SIGILL|Illegal|signal 4).*Install poets again"):
        rehearse()


def test_a_network_that_cannot_be_loaded_is_said(tmp_path, monkeypatch):
    (tmp_path / "broken.tflite").write_bytes(b"broken")
    monkeypatch.setattr(rehearsal, "TINY_NETWORK", tmp_path / "broken.tflite")
    said = []

    rehearsal._answer(None, said.append)

    assert "cannot be loaded" in said[0]


def test_a_full_disk_for_temporary_files_is_no_reason_to_install_again(monkeypatch):
    def refuse(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(rehearsal, "_compute", refuse)
    said = []

    rehearsal._answer(None, said.append)

    assert said == ["No space left on device. Make room there."]
