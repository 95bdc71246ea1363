"""Whether everything needed is there: for `poets doctor` and `poets status`."""

import importlib.metadata
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.driving.broker import Broker, open_broker
from orchestrator.driving.coordinator import ALIVE_KEY
from orchestrator.embedded.runtime_folder import check_room
from orchestrator.embedded.stack import find_stack
from orchestrator.embedded.supervisor import find_server
from orchestrator.embedded.users import attach_broker
from orchestrator.planning.batches import ENOUGH_IMAGES, FEWEST_IMAGES, MOST_IMAGES
from orchestrator.runs import list_states
from workers.app import TELL_STATE
from workers.backbones.loading import default_chunk
from workers.backbones.table import DEFAULT_ARCHITECTURE, find_spec
from workers.backbones.weights import check_weights, find_weights
from workers.bottlenecks.rehearsal import rehearse
from workers.errors import NoStorageError, PoetsError
from workers.leases import UNACKED, waiting_workers
from workers.processes import capacity
from workers.processes.semaphores import check_semaphores
from workers.processes.surroundings import check_modules, forgotten
from workers.settings import QUEUES, Settings, poets_version
from workers.storage.root import is_earlier, storage_id
from workers.storage.temporary import scratch_prefix
from workers.storage.trial import try_storage

_LIBRARIES = (
    "poets",
    "celery",
    "kombu",
    "redis",
    "tensorflow",
    "ai-edge-litert",
    "pillow",
    "flower",
)
_ENOUGH_BYTES = 1024**3
_TEMPORARY_BYTES = 16 * 1024**2
_ANSWER_WITHIN_S = 1.0


@dataclass(frozen=True)
class HealthCheck:
    """One line of `poets doctor`; `text` says what was found, or what to do."""

    name: str
    is_ok: bool
    text: str


def describe_services(settings: Settings) -> dict[str, Any]:
    """Return broker (None when none is up), queues, workers, coordinator, runs under way.

    `starting` names what does not answer yet because the embedded stack is young.

    Raises:
        BrokerError: When a broker is configured and does not answer.
    """
    attached = attach_broker(settings)
    states = list_states(settings)
    facts: dict[str, Any] = {
        "broker": None,
        "queues": {},
        "unacked": 0,
        "workers": [],
        "worker_states": {},
        "waiting_workers": {},
        "coordinator": False,
        "starting": [],
        "running": [state.name for state in states if state.state == "running"],
    }
    if attached is not None:
        broker = open_broker(attached)
        facts["broker"] = attached.shown_broker
        facts["queues"] = broker.queue_lengths(QUEUES)
        facts["unacked"] = int(broker.client.hlen(UNACKED))
        facts["worker_states"] = ask_workers(broker)
        facts["waiting_workers"] = waiting_workers(broker.client)
        facts["workers"] = list(facts["worker_states"])
        facts["coordinator"] = bool(broker.client.exists(ALIVE_KEY))
        facts["starting"] = [name for name in _starting_services(settings) if not facts[name]]
    return facts


def _starting_services(settings: Settings) -> list[str]:
    return [] if settings.broker_url else find_stack(settings).starting_services()


def examine(settings: Settings) -> Iterator[HealthCheck]:
    """Yield one check after the other."""
    checks: dict[str, Callable[[], object]] = {
        "packages": _packages,
        "machine": _machine,
        "pictures": rehearse,
        "storage": lambda: _storage(settings),
        "broker": lambda: _broker(settings),
        "workers": lambda: _workers(settings),
        "weights": lambda: _weights(settings),
        "device": lambda: _device(settings),
        "memory": _memory,
        "processes": lambda: capacity.default_concurrency(settings.device),
        "threads": lambda: capacity.default_threads(settings.device),
        "batches": lambda: _batches(settings),
    }
    for name, check in checks.items():
        try:
            yield HealthCheck(name, True, str(check()))
        except (PoetsError, OSError) as error:
            yield HealthCheck(name, False, str(error))


def _packages() -> str:
    try:
        versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES)
    except importlib.metadata.PackageNotFoundError as error:
        raise PoetsError(
            f"{error.name} is not installed. Install poets again from its source folder "
            "(`pip install .`)."
        ) from error
    return f"Python {platform.python_version()}, {versions}"


def _machine() -> str:
    check_semaphores()
    check_modules()
    try:
        with tempfile.TemporaryFile(prefix=scratch_prefix()) as file:
            file.write(bytes(_TEMPORARY_BYTES))
            file.flush()
    except OSError as error:
        raise PoetsError(
            f"Nothing can be written to the folder of temporary files: {error.strerror}. Make room "
            "there, or set TMPDIR to a folder that can be written."
        ) from error
    ignored = f"; not obeyed: {', '.join(forgotten)}" if forgotten else ""
    encoding = sys.getfilesystemencoding()
    return f"semaphores, temporary files in {tempfile.gettempdir()}, names in {encoding}{ignored}"


def _storage(settings: Settings) -> str:
    root = settings.storage
    if root.is_dir():
        try_storage(root)
    if not root.exists() and root.parent.is_dir() and settings.broker_url is None:
        return f"{root} is made by the first command that needs it"
    if not is_earlier(root):
        try:
            storage_id(root)
        except NoStorageError as error:
            raise PoetsError(
                f"{error} Mount it, or set POETS_STORAGE or --storage to a folder that is there; "
                "the first command makes a new storage."
            ) from error
    free = shutil.disk_usage(root).free
    if free < _ENOUGH_BYTES:
        raise PoetsError(f"{settings.storage} has only {free / 1e6:.0f} MB left. Make room.")
    return f"{settings.storage}, {free / 1e9:.0f} GB free"


def _broker(settings: Settings) -> str:
    attached = attach_broker(settings)
    if attached is None:
        check_room(find_stack(settings).folder)
        server = find_server()
        started = subprocess.run([server, "--version"], capture_output=True, check=False)
        if started.returncode:
            raise PoetsError(f"{server} does not start here. Install another (valkey-server).")
        return f"none configured; commands start {server}"
    client = open_broker(attached).client
    version, key = client.info("server").get("redis_version"), f"poets:probe/{uuid.uuid4().hex}"
    since = time.monotonic()
    client.rpush(key, "poets")
    if client.lpop(key) != "poets":
        raise PoetsError(f"{attached.shown_broker} does not give back what it is given.")
    ms = 500 * (time.monotonic() - since)
    return f"{attached.shown_broker} answers within {ms:.1f} ms (protocol of Redis {version})"


def _workers(settings: Settings) -> str:
    attached = attach_broker(settings)
    if attached is None:
        return "none needed now; commands start their own"
    broker = open_broker(attached)
    states = ask_workers(broker)
    for name, reason in waiting_workers(broker.client).items():
        raise PoetsError(f"{name} waits: {reason}")
    if not states and "workers" in _starting_services(settings):
        return "starting"
    if not states:
        raise PoetsError("None answers. Start `poets worker` with the same broker and storage.")
    own = poets_version()
    others = [
        f"{name} ({state['poets']})" for name, state in states.items() if state["poets"] != own
    ]
    if others:
        raise PoetsError(
            f"This is poets {own}, and there is another version on {', '.join(others)}. "
            "Install the same version everywhere."
        )
    for name, state in states.items():
        if state["rests"]:
            raise PoetsError(f"{name} rests after failed attempts: {state['rests']}")
    return ", ".join(states)


def ask_workers(broker: Broker) -> dict[str, dict[str, Any]]:
    """Return what each worker that answers says: its version, and why it rests if it does."""
    ask = broker.app.control.broadcast
    answers = ask(TELL_STATE, reply=True, timeout=_ANSWER_WITHIN_S)
    # A worker that does not know the question answers with an error.
    unknown = {"poets": "too old to say", "rests": "", "host": "", "pid": 0, "queues": []}
    found = [(name, unknown | said) for answer in answers for name, said in answer.items()]
    times = Counter(name for name, _ in found)
    # Workers of one machine may share a name.
    return {
        f"{name} (process {said['pid']})" if times[name] > 1 else name: said
        for name, said in sorted(found, key=lambda one: (one[0], one[1]["pid"]))
    }


def _weights(settings: Settings) -> str:
    spec = find_spec(DEFAULT_ARCHITECTURE)
    found = find_weights(spec, [*settings.weights_dirs, settings.storage / "downloads"])
    if found is None:
        raise PoetsError(
            f"{spec.weights_file} ({spec.name}) is not here. Run `poets fetch-weights "
            f"{spec.name}`, or set POETS_WEIGHTS_DIR to a folder that holds it."
        )
    check_weights(found)
    return str(found)


def _memory() -> str:
    found = capacity.find_capacity()
    if capacity.is_too_small(found):
        least = (capacity.BESIDE_BYTES + capacity.CHILD_BYTES) // capacity.MEGABYTE
        raise PoetsError(
            f"There are only {found.memory_text}; a worker takes up to {least} MB. Allow more."
        )
    return found.memory_text


def _batches(settings: Settings) -> str:
    chunk = default_chunk(settings.device)
    return (
        f"{chunk.value} images at a time ({chunk.reason}); {FEWEST_IMAGES} to {ENOUGH_IMAGES} in a "
        f"task, up to {MOST_IMAGES} from a million images on"
    )


def _device(settings: Settings) -> str:
    gpu = "an NVIDIA driver is loaded" if capacity.has_gpu() else "no NVIDIA driver"
    return f"{settings.device} ({gpu}), {sys.platform} {platform.machine()}"
