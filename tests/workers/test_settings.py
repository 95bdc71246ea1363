"""Settings: flag before environment before file before default, and clear refusals."""

import os
from pathlib import Path

import pytest

from workers.backbones.table import find_spec
from workers.backbones.weights import find_weights
from workers.errors import NoHomeError, SettingsError
from workers.settings import Settings, home_folder, load_settings, needed_flags

# name, variable, attribute, default, and what each of three texts is read as.
ROWS = [
    ("broker_url", "POETS_BROKER_URL", "broker_url", None, ("redis://a", "redis://b", "redis://c")),
    ("device", "POETS_DEVICE", "device", "auto", ("cpu", "gpu", "auto")),
    (
        "storage",
        "POETS_STORAGE",
        "storage",
        Path("~/.poets").expanduser(),
        ("/flag", "/environment", "/file"),
    ),
    (
        "weights_dir",
        "POETS_WEIGHTS_DIR",
        "weights_dirs",
        (),
        ("/flag", "/environment:/second", "/file"),
    ),
    ("model", "POETS_MODEL", "model", None, ("flowers-1", "./spring", "latest")),
]


def as_read(name, text):
    if name == "storage":
        return Path(text)
    return tuple(map(Path, text.split(":"))) if name == "weights_dir" else text


@pytest.fixture
def config(tmp_path):
    """Write a configuration and return the environment that names it."""

    def write(text):
        (tmp_path / "my.toml").write_text(text)
        return {"POETS_CONFIG": str(tmp_path / "my.toml")}

    return write


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


@pytest.mark.parametrize(("name", "variable", "attribute", "default", "texts"), ROWS)
def test_a_flag_wins_over_the_environment_over_the_file(
    config, name, variable, attribute, default, texts
):
    flag, environment, file = texts
    environ = config(f'{name} = "{file}"')

    in_file = load_settings({name: None}, environ)
    in_environment = load_settings({name: None}, {**environ, variable: environment})
    in_flag = load_settings({name: flag}, {**environ, variable: environment})

    assert getattr(in_file, attribute) == as_read(name, file)
    assert getattr(in_environment, attribute) == as_read(name, environment)
    assert getattr(in_flag, attribute) == as_read(name, flag)


def test_without_anything_the_defaults_hold(tmp_path):
    home = tmp_path / "home"

    assert load_settings({}, {}) == Settings(home / ".poets", None, (), "auto")


@pytest.mark.parametrize(("name", "variable", "attribute", "default", "texts"), ROWS)
def test_an_empty_variable_counts_as_not_set(config, name, variable, attribute, default, texts):
    found = load_settings({}, {**config(f'{name} = "{texts[2]}"'), variable: ""})

    assert getattr(found, attribute) == as_read(name, texts[2])


def test_a_file_in_the_folder_wins_over_that_of_the_user(tmp_path):
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    (tmp_path / "config" / "poets").mkdir(parents=True)
    (tmp_path / "config" / "poets" / "poets.toml").write_text('device = "cpu"')
    assert load_settings({}, environ).device == "cpu"

    Path("poets.toml").write_text('device = "gpu"')

    assert load_settings({}, environ).device == "gpu"


def test_a_configuration_that_is_named_but_missing_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="Cannot read the configuration"):
        load_settings({}, {"POETS_CONFIG": str(tmp_path / "gone.toml")})


@pytest.mark.parametrize("text", ["device = ", "device = 'cpu", "= 1", "\x00"])
def test_a_malformed_configuration_is_refused_by_its_name(config, text):
    with pytest.raises(SettingsError, match=r"Cannot read the configuration .*my\.toml"):
        load_settings({}, config(text))


def test_a_configuration_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "my.toml").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(SettingsError, match="Cannot read"):
        load_settings({}, {"POETS_CONFIG": str(tmp_path / "my.toml")})


@pytest.mark.parametrize(
    ("name", "near"), [("brokerurl", "broker_url"), ("Storage", "storage"), ("devise", "device")]
)
def test_an_unknown_name_is_refused_with_the_nearest(config, name, near):
    with pytest.raises(SettingsError, match=f"Unknown setting '{name}' .* mean '{near}'"):
        load_settings({}, config(f'{name} = "x"'))


def test_an_unknown_name_like_no_other_is_refused_with_all(config):
    with pytest.raises(SettingsError, match="Known: broker_url, storage, weights_dir, device"):
        load_settings({}, config("zzz = 1"))


@pytest.mark.parametrize("line", ["storage = 1", "device = ['cpu']", "broker_url = false"])
def test_a_value_that_is_no_text_is_refused(config, line):
    with pytest.raises(SettingsError, match="must be text"):
        load_settings({}, config(line))


def test_folders_of_weights_may_be_a_list(config):
    found = load_settings({}, config('weights_dir = ["/one", "~/two"]'))

    assert found.weights_dirs == (Path("/one"), Path("~/two").expanduser())


@pytest.mark.parametrize("storage", ["s3://bucket/poets", "gs://bucket"])
def test_an_object_store_is_refused(storage):
    with pytest.raises(SettingsError, match="Object stores are not supported yet"):
        load_settings({"storage": storage}, {})


def test_an_unknown_device_is_refused():
    with pytest.raises(SettingsError, match="Device 'tpu' is unknown"):
        load_settings({"device": "tpu"}, {})


def test_paths_are_absolute_so_that_every_process_means_the_same():
    found = load_settings({"storage": "a/../b", "weights_dir": "w"}, {})

    assert found.storage == Path.cwd() / "b"
    assert found.weights_dirs == (Path.cwd() / "w",)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rediss://h:1/0", "rediss://h:1/0?ssl_cert_reqs=required"),
        ("rediss://h?a=b", "rediss://h?a=b&ssl_cert_reqs=required"),
        ("rediss://h?ssl_cert_reqs=required", "rediss://h?ssl_cert_reqs=required"),
        ("redis://h", "redis://h"),
    ],
)
def test_an_encrypted_broker_must_show_its_certificate(url, expected):
    assert load_settings({"broker_url": url}, {}).broker_url == expected


@pytest.mark.parametrize(
    "less",
    ["ssl_cert_reqs=none", "ssl_cert_reqs=optional", "ssl_check_hostname=false"],
)
def test_an_encrypted_broker_without_certificate_is_refused(less):
    with pytest.raises(SettingsError, match=less):
        load_settings({"broker_url": f"rediss://h?{less}"}, {})


@pytest.mark.parametrize(
    "settings",
    [
        Settings(Path("/s")),
        Settings(Path("/s"), "redis://h", (Path("/one"), Path("/two")), "gpu"),
    ],
)
def test_a_child_process_gets_these_very_settings(settings):
    assert load_settings({}, settings.environment()) == settings


def test_the_environment_of_the_process_is_the_default(monkeypatch):
    monkeypatch.setenv("POETS_DEVICE", "gpu")

    assert load_settings().device == "gpu" == os.environ["POETS_DEVICE"]


def test_flags_are_needed_for_what_the_surroundings_do_not_name(tmp_path):
    url = "redis://:secret@broker/0"
    settings = Settings(tmp_path / "a b", url)

    named = {"POETS_STORAGE": str(tmp_path / "a b"), "POETS_BROKER_URL": url}
    assert needed_flags(settings, named) == ""
    flags = f" --storage '{tmp_path}/a b' --broker-url 'redis://:***@broker/0'"
    assert needed_flags(settings, {}) == flags
    # Also where the surroundings name what cannot be.
    assert needed_flags(settings, {"POETS_STORAGE": "s3://bucket"}) == flags


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.05", 0.05), ("20", 0.2), ("0", 0)])
def test_the_part_that_may_fail_is_a_percentage_or_a_fraction(tmp_path, text, share):
    file = tmp_path / "poets.toml"
    file.write_text(f'max_failed = "{text}"')

    assert load_settings(environ={"POETS_MAX_FAILED": text}).max_failed == share
    assert load_settings({"max_failed": text}, {"POETS_MAX_FAILED": "9%"}).max_failed == share
    assert load_settings(environ={"POETS_CONFIG": str(file)}).max_failed == share
    file.write_text(f"max_failed = {text.removesuffix('%')}")
    assert load_settings(environ={"POETS_CONFIG": str(file)}).max_failed == share


@pytest.mark.parametrize("text", ["1", "-5%", "101%", "nan", "some"])
def test_a_part_that_is_none_is_refused(text):
    with pytest.raises(SettingsError, match=r"max_failed.*(percentage|1%)"):
        load_settings(environ={"POETS_MAX_FAILED": text})


@pytest.fixture
def no_home(monkeypatch):
    """The user of a container: an id without a name."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 987654)


@pytest.mark.usefixtures("no_home")
def test_without_a_home_folder_only_what_needs_one_is_refused(tmp_path):
    assert home_folder() is None
    with pytest.raises(NoHomeError, match="no home folder"):
        load_settings(environ={})

    settings = load_settings({"storage": str(tmp_path)}, environ={})

    assert settings.storage == tmp_path
    assert find_weights(find_spec("resnet50"), [tmp_path]) is None


@pytest.mark.parametrize("home", ["", "relative"])
def test_a_home_that_is_no_path_is_none(monkeypatch, home):
    monkeypatch.setenv("HOME", home)

    with pytest.raises(NoHomeError):
        load_settings(environ={})


def test_the_home_of_nobody_with_that_name_is_none():
    with pytest.raises(NoHomeError, match="~nobody-of-this-name/x"):
        load_settings({"storage": "~nobody-of-this-name/x"}, environ={})
