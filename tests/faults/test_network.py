"""A worker behind a link that is cut for a while goes on when it is back."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.builders.accounting import assert_all_accounted, assert_same_model
from tests.builders.paths import ROOT
from tests.builders.programs import start, wait_until
from tests.builders.servers import valkey
from tests.builders.traps import HOLD_WORKER, lay, let_go, wait_for_held
from tests.faults.small import SMALL

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]
# POETS_TEST_CUT_S=60 takes the minute that the table of faults speaks of. (The fixture that
# hides the settings of who runs the tests comes later.)
CUT_S = float(os.environ.get("POETS_TEST_CUT_S", "12"))


class Link:
    """A network namespace, and the pair of virtual cards that joins it to this one."""

    def __init__(self) -> None:
        number = os.getpid() % 250
        self.name = f"poets{os.getpid()}"
        self._outside, self._inside = f"po{number}", f"pi{number}"
        self.address = f"10.213.{number}.1"
        self._other = f"10.213.{number}.2"

    def open(self) -> None:
        ip("netns", "add", self.name)
        ip("link", "add", self._outside, "type", "veth", "peer", "name", self._inside)
        ip("link", "set", self._inside, "netns", self.name)
        ip("addr", "add", f"{self.address}/30", "dev", self._outside)
        ip("link", "set", self._outside, "up")
        for command in (
            ("addr", "add", f"{self._other}/30", "dev", self._inside),
            ("link", "set", self._inside, "up"),
        ):
            ip("-n", self.name, *command)

    def cut(self) -> None:
        ip("link", "set", self._outside, "down")

    def mend(self) -> None:
        ip("link", "set", self._outside, "up")

    def close(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("link", "delete", self._outside)
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("netns", "delete", self.name)


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def link():
    link = Link()
    try:
        link.open()
    except (OSError, subprocess.CalledProcessError):
        link.close()
        pytest.skip("network namespaces are not allowed here (they need root and the program ip)")
    yield link
    link.close()


def start_inside(link, url, traps):
    """Start a worker in the network namespace, in the file systems of this one."""
    command = [sys.executable, "-m", "cli.main", "worker", "--concurrency", "1"]
    return subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{link.name}", *command],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "POETS_BROKER_URL": url, **traps},
        cwd=ROOT,
    )


def test_a_worker_whose_link_is_cut_in_mid_batch_goes_on(few, tmp_path, link, undisturbed_few):
    traps = lay(tmp_path / "traps", HOLD_WORKER)
    options = ("--requirepass", "secret", "--protected-mode", "no")
    with valkey(tmp_path / "v", *options, address=link.address) as port:
        url = f"redis://:secret@{link.address}:{port}/0"
        worker = start_inside(link, url, traps)
        submit = start(
            "submit-dataset", few, *SMALL, "--name", "spring", "--json", POETS_BROKER_URL=url
        )
        try:
            wait_for_held(tmp_path / "traps")
            link.cut()
            let_go(tmp_path / "traps")
            # What it holds is finished: results go to storage, not through the broker.
            wait_until(lambda: list(tmp_path.glob("storage/bottlenecks/*/*/*.arrow")))
            time.sleep(CUT_S)
            assert submit.poll() is None
            link.mend()
            mended = time.monotonic()
            out, err = submit.communicate()
            print(f"done {time.monotonic() - mended:.1f} s after the link came back")
        finally:
            worker.send_signal(signal.SIGTERM)
            _, log = worker.communicate()

    assert submit.returncode == 0, err + log
    result = json.loads(out)
    assert (result["computed"], result["quarantined"], result["lost"]) == (24, 0, 0)
    assert_all_accounted(tmp_path / "storage", "spring")
    assert_same_model(Path(result["model"]), undisturbed_few.model)
    assert "Traceback" not in err
