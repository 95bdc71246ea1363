"""Settings: flag > environment > poets.toml > default."""

import difflib
import importlib.metadata
import os
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from workers import DISTRIBUTION
from workers.errors import NoBrokerError, NoHomeError, SettingsError
from workers.percentages import read_percent
from workers.storage.names import check_utf8

DEFAULT_STORAGE = "~/.poets"
DEVICES = ("auto", "cpu", "gpu")
QUEUES = ("bottleneck", "train", "infer")
_VARIABLES = {
    "broker_url": "POETS_BROKER_URL",
    "storage": "POETS_STORAGE",
    "weights_dir": "POETS_WEIGHTS_DIR",
    "device": "POETS_DEVICE",
    "max_failed": "POETS_MAX_FAILED",
    "model": "POETS_MODEL",
}


def poets_version() -> str:
    """Return the version of poets that is installed here."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True)
class Settings:
    """What all processes of poets must agree on.

    Attributes:
        storage: Shared folder that holds runs, bottlenecks, weights and models.
        broker_url: Redis or Valkey; None means the embedded stack.
        weights_dirs: Folders searched, with their subfolders, for Keras' weight files.
        device: "cpu" (LiteRT), "gpu" (Keras), or "auto" (gpu where a driver is loaded).
        max_failed: Which part of a run's images may be unreachable, 0 to 1; None where nothing
            says so.
        model: A run, a model folder or "latest", for commands that are given none.
    """

    storage: Path
    broker_url: str | None = None
    weights_dirs: tuple[Path, ...] = ()
    device: str = "auto"
    max_failed: float | None = None
    model: str | None = None

    def require_broker(self) -> str:
        """Return the URL of the broker.

        Raises:
            NoBrokerError: When there is none.
        """
        if self.broker_url is None:
            raise NoBrokerError("There is no broker.")
        return self.broker_url

    @property
    def shown_broker(self) -> str:
        """The URL of the broker without its password."""
        url = self.broker_url or ""
        password = urlsplit(url).password
        return url.replace(f":{password}@", ":***@") if password else url

    def environment(self) -> dict[str, str]:
        """Return the variables that give a child process exactly these settings."""
        values = {
            "POETS_STORAGE": str(self.storage),
            "POETS_DEVICE": self.device,
            # Nothing else counts, such as a poets.toml where the child runs.
            "POETS_CONFIG": os.devnull,
        }
        if self.broker_url:
            values["POETS_BROKER_URL"] = self.broker_url
        if self.weights_dirs:
            values["POETS_WEIGHTS_DIR"] = os.pathsep.join(map(str, self.weights_dirs))
        if self.model:
            values["POETS_MODEL"] = self.model
        return values


def load_settings(
    flags: Mapping[str, str | None] | None = None,
    environ: Mapping[str, str] = os.environ,
    default_storage: str = DEFAULT_STORAGE,
) -> Settings:
    """Return the settings in force.

    Args:
        flags: Values of command line flags by setting name; None or "" counts as not given.
        environ: The environment; ``POETS_CONFIG`` names a configuration file.
        default_storage: The storage when nothing names one.

    Raises:
        SettingsError: When the file cannot be read, or a name or value is unknown.
    """
    values = _from_file(environ)
    for name, variable in _VARIABLES.items():
        if environ.get(variable):
            values[name] = environ[variable]
    values.update({k: v for k, v in (flags or {}).items() if v})

    storage = values.get("storage") or default_storage
    if "://" in storage:
        raise SettingsError(
            f"Storage {storage!r} is not a folder. Object stores are not supported yet: "
            "give a local or shared (NFS) folder in POETS_STORAGE."
        )
    device = values.get("device", "auto")
    if device not in DEVICES:
        raise SettingsError(f"Device {device!r} is unknown. Choose one of: {', '.join(DEVICES)}.")
    weights = [part for part in values.get("weights_dir", "").split(os.pathsep) if part]
    return Settings(
        storage=_absolute(storage),
        broker_url=_with_certificates(values.get("broker_url") or None),
        weights_dirs=tuple(_absolute(part) for part in weights),
        device=device,
        max_failed=_share(values["max_failed"]) if values.get("max_failed") else None,
        model=values.get("model") or None,
    )


def _share(text: str) -> float:
    try:
        return float(read_percent(text) / 100)
    except ValueError as error:
        raise SettingsError(f"Setting 'max_failed' is wrong: {error}") from error


def needed_flags(settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """Return the flags with which another command finds the same storage and broker.

    None where environment and configuration file lead there by themselves. A password is
    left out.
    """
    try:
        found = load_settings(environ=environ)
    except SettingsError:  # the command that needs flags will report it; all are needed
        found = Settings(Path())
    flags = ""
    if found.storage != settings.storage:
        flags += f" --storage {shlex.quote(str(settings.storage))}"
    if settings.broker_url and found.broker_url != settings.broker_url:
        flags += f" --broker-url {shlex.quote(settings.shown_broker)}"
    return flags


def _with_certificates(broker_url: str | None) -> str | None:
    """Let a rediss:// URL ask for certificates to be checked; kombu does not by itself."""
    if broker_url is None:
        return None
    try:
        asked = parse_qs(urlsplit(broker_url).query)
    except ValueError as error:
        raise SettingsError(f"The broker URL cannot be read: {error}.") from error
    if not broker_url.startswith("rediss://"):
        return broker_url
    # redis-py and kombu compare the name in the certificate unless told not to.
    for name, wanted in (("ssl_cert_reqs", "required"), ("ssl_check_hostname", "true")):
        if name in asked and [text.lower() for text in asked[name]] != [wanted]:
            raise SettingsError(
                f"The broker URL asks for {name}={asked[name][0]}, so anybody could pose as the "
                "broker. Leave it out, and name your own authority with ssl_ca_certs=FILE."
            )
    if "ssl_cert_reqs" not in asked:
        return f"{broker_url}{'&' if '?' in broker_url else '?'}ssl_cert_reqs=required"
    return broker_url


def _absolute(path: str) -> Path:
    check_utf8(path)
    expanded = os.path.expanduser(path)
    # Left as it is where nobody has that name.
    if path.startswith("~") and (expanded.startswith("~") or home_folder() is None):
        raise NoHomeError(f"There is no home folder, so {path!r} is no path.")
    return Path(os.path.abspath(expanded))


def home_folder() -> Path | None:
    """Return the home folder; None where HOME is no path and the user has none by name."""
    home = os.path.expanduser("~")
    # Without HOME, a user id that has no name (a container's) is left as "~".
    return Path(home) if os.environ.get("HOME") != "" and os.path.isabs(home) else None


def _from_file(environ: Mapping[str, str]) -> dict[str, str]:
    path = _config_path(environ)
    if path is None:
        return {}
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"Cannot read the configuration {path}: {error}.") from error
    values = {}
    for name, value in table.items():
        if name not in _VARIABLES:
            near = difflib.get_close_matches(name, _VARIABLES, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(_VARIABLES)}."
            raise SettingsError(f"Unknown setting {name!r} in {path}. {hint}")
        is_list = name == "weights_dir" and isinstance(value, list)
        is_number = name == "max_failed" and type(value) in (int, float)
        text = os.pathsep.join(map(str, value)) if is_list else str(value) if is_number else value
        if not isinstance(text, str):
            raise SettingsError(f"Setting {name!r} in {path} must be text, not {value!r}.")
        values[name] = text
    return values


def _config_path(environ: Mapping[str, str]) -> Path | None:
    if environ.get("POETS_CONFIG"):
        return _absolute(environ["POETS_CONFIG"])
    folder = environ.get("XDG_CONFIG_HOME") or (home_folder() and "~/.config")
    candidates = [Path("poets.toml")]
    if folder:
        candidates.append(_absolute(folder) / "poets" / "poets.toml")
    # Not `Path.is_file`, which fails in a folder that may not be entered.
    return next(filter(os.path.isfile, candidates), None)
