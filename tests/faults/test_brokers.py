"""Brokers that would lose work, or that others could read, are refused at start."""

import shutil
import signal
import socket
from pathlib import Path

import pytest

from tests.builders.accounting import assert_all_accounted, assert_same_model
from tests.builders.backbones import TINY_OPTIONS
from tests.builders.programs import poets, poets_json, start
from tests.builders.servers import Certificates, TlsFront, free_port, valkey
from tests.faults.small import SMALL

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]
COMMANDS = [("worker", "--concurrency", "1"), ("coordinator",), ("flower",)]


def refusal(photos, url, **environment):
    """Return the one sentence of submit-dataset; every other command says the same."""
    environment["POETS_BROKER_URL"] = url
    said = {
        poets(*command, exit_code=1, **environment)[1].splitlines()[-1]
        for command in [("submit-dataset", photos, *TINY_OPTIONS), *COMMANDS]
    }
    assert len(said) == 1
    return said.pop()


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_an_eviction_policy_that_loses_work_is_refused_at_start(few, tmp_path, policy):
    with valkey(tmp_path / "v", "--maxmemory-policy", policy) as port:
        said = refusal(few, f"redis://127.0.0.1:{port}/0")

    assert said == (
        f"Error: The broker evicts keys ({policy}) and would lose work. Set maxmemory-policy "
        "to noeviction."
    )
    assert not (tmp_path / "storage" / "runs").exists()


def test_a_cluster_is_refused_at_start(few, tmp_path):
    # The default is 10,000 above the other port, where there may be none.
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with valkey(tmp_path / "v", *options) as port:
        said = refusal(few, f"redis://127.0.0.1:{port}/0")

    assert said == "Error: The broker is a Redis Cluster, which Celery does not support."


def own_address():
    """Return an address of this machine that others could reach."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing: it only asks which way a packet would go.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no network but the loopback")
        return probe.getsockname()[0]


def test_a_server_without_password_off_loopback_is_refused_at_start(few, tmp_path):
    address = own_address()
    with valkey(tmp_path / "v", "--protected-mode", "no", address=address) as port:
        said = refusal(few, f"redis://{address}:{port}/0")

    assert said == (
        f"Error: The broker at {address} has no password: anybody who reaches it could send "
        "tasks. Set one, and put it into POETS_BROKER_URL."
    )


def test_a_password_that_is_wrong_is_refused_and_not_shown(few, tmp_path):
    with valkey(tmp_path / "v", "--requirepass", "right") as port:
        said = refusal(few, f"redis://:wrong@127.0.0.1:{port}/0")

    assert "invalid username-password pair" in said
    assert "wrong@" not in said


@pytest.fixture
def certificates(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("the program openssl, which makes certificates, is not here")
    return Certificates(tmp_path / "certificates")


@pytest.fixture
def front(tmp_path):
    """Return a function that puts TLS with a certificate in front of a real server."""
    fronts = []
    with valkey(tmp_path / "v") as port:

        def open_front(certificate):
            fronts.append(TlsFront(certificate, port))
            return fronts[0]

        yield open_front
        for each in fronts:
            each.close()


@pytest.mark.parametrize(
    ("signed_for", "days", "trusted", "reason"),
    [
        ("IP:127.0.0.1", 2, "other_authority", "unable to get local issuer certificate"),
        ("IP:127.0.0.1", -1, "authority", "certificate has expired"),
        ("DNS:other.example", 2, "authority", "IP address mismatch"),
    ],
    ids=["wrong authority", "expired", "wrong name"],
)
def test_a_certificate_that_proves_nothing_is_refused_and_nothing_is_sent(
    few, certificates, front, signed_for, days, trusted, reason
):
    tls = front(certificates.sign(signed_for, days))
    authority = getattr(certificates, trusted)

    said = refusal(few, f"rediss://127.0.0.1:{tls.port}/0?ssl_ca_certs={authority}")

    assert reason in said
    assert "ssl_ca_certs=FILE" in said
    assert (tls.plain, tls.passed) == (0, 0)


@pytest.mark.parametrize("less", ["ssl_cert_reqs=none", "ssl_check_hostname=false"])
def test_a_url_that_asks_for_less_than_a_certificate_is_refused(few, less):
    _, err = poets(
        *("submit-dataset", few, *TINY_OPTIONS),
        exit_code=2,
        POETS_BROKER_URL=f"rediss://127.0.0.1:1/0?{less}",
    )

    assert f"asks for {less}" in err.splitlines()[-1]


def test_a_run_through_tls_is_as_any_other(few, certificates, front, tmp_path, undisturbed_few):
    tls = front(certificates.sign("IP:127.0.0.1"))
    url = f"rediss://127.0.0.1:{tls.port}/0?ssl_ca_certs={certificates.authority}"
    worker = start("worker", "--concurrency", 1, POETS_BROKER_URL=url)
    try:
        result = poets_json("submit-dataset", few, *SMALL, POETS_BROKER_URL=url)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.communicate()

    assert tls.plain == 0
    assert tls.passed > 2
    assert_all_accounted(tmp_path / "storage", result["run"])
    assert_same_model(Path(result["model"]), undisturbed_few.model)
