"""Fixtures for all tests: clean settings, the shared data, a converted backbone, a server."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.embedded.stack import find_stack
from orchestrator.embedded.supervisor import find_server
from tests.builders.backbones import ARCHITECTURE, BACKBONE_ID, WEIGHTS
from tests.builders.once import make_once
from tests.builders.paths import DATA, ROOT
from tests.builders.traps import POISON
from workers.leases import connect
from workers.settings import Settings
from workers.storage.layout import Storage

# A job in the background of a script begins with Ctrl-C ignored, and so would all programs
# that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _settings_of_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No test sees, or touches, the settings and files of who runs it."""
    for name in list(os.environ):
        if name.startswith("POETS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("POETS_STORAGE", str(tmp_path / "storage"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "100")
    yield
    stack = find_stack(Settings(tmp_path / "storage"))
    if stack.supervisor() is None:
        shutil.rmtree(stack.folder)


@pytest.fixture(scope="session")
def data() -> Path:
    """The shared test data: real photographs, real weights, awkward files."""
    if not DATA.is_dir():
        pytest.skip(f"the shared test data is not in {DATA} (POETS_TEST_DATA names it)")
    return DATA


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """A storage that holds the tiny backbone, converted once for all tests."""
    from workers.backbones.convert import convert_backbone
    from workers.storage.plan import Plan

    def convert(folder: Path) -> None:
        plan = Plan("", "", "", ARCHITECTURE, BACKBONE_ID, WEIGHTS, 0, 0, 0, 0)
        convert_backbone(Storage(folder), plan, lambda: None)

    return Storage(make_once(tmp_path_factory, "converted", convert))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """An empty storage."""
    (tmp_path / "storage").mkdir()
    return Storage(tmp_path / "storage")


@pytest.fixture
def ready_storage(storage: Storage, converted: Storage) -> Storage:
    """A storage that holds the tiny backbone."""
    shutil.copytree(converted.root / "backbones", storage.root / "backbones")
    return storage


@pytest.fixture
def poison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the names of files decide what opening them does to a new process."""
    (tmp_path / "poison").mkdir()
    (tmp_path / "poison" / "sitecustomize.py").write_text(POISON)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "poison"), str(ROOT)]))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Valkey server; yields its URL."""
    folder = tmp_path_factory.mktemp("v")
    socket = folder / "s"
    process = subprocess.Popen(
        [find_server(), "--port", "0", "--unixsocket", str(socket), "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    url = f"redis+socket://{socket}?virtual_host=0"
    try:
        while not socket.exists():
            assert process.poll() is None
        connect(url).ping()
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def broker_url(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty broker, and the environment that names it."""
    connect(server).flushall()
    monkeypatch.setenv("POETS_BROKER_URL", server)
    return server
