"""Real Valkey servers that are set up in other ways, and TLS in front of one."""

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from orchestrator.embedded.supervisor import find_server
from tests.builders.programs import wait_until

_EXTENSIONS = "subjectAltName={name}\nextendedKeyUsage=serverAuth\n"
_TLS_HANDSHAKE = 0x16


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def valkey(folder: Path, *options: str, address: str = "127.0.0.1") -> Iterator[int]:
    """Run a Valkey server of its own on a TCP port; yield the port."""
    port = free_port(address)
    folder.mkdir(exist_ok=True)
    place = ["--bind", address, "--port", str(port), "--dir", str(folder), "--save", ""]
    process = subprocess.Popen([find_server(), *place, *options], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.poll() is not None or _answers(address, port))
        assert process.poll() is None, "the server ended at once"
        yield port
    finally:
        process.terminate()
        process.wait()


def _answers(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
        return True
    return False


class Certificates:
    """An authority of our own, and certificates that it signs, made by the program openssl."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.authority = self._make_authority("authority")
        self.other_authority = self._make_authority("other")

    def sign(self, name: str, days: int = 2) -> tuple[Path, Path]:
        """Return the certificate for a name such as ``IP:127.0.0.1``, and its key."""
        request, certificate, key = (
            self._folder / f"server.{end}" for end in ("csr", "pem", "key")
        )
        extensions = self._folder / "extensions"
        extensions.write_text(_EXTENSIONS.format(name=name))
        self._openssl("req", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", "/CN=broker")
        self._openssl(
            *("x509", "-req", "-in", request, "-out", certificate, "-days", days),
            *("-CA", self.authority, "-CAkey", self.authority.with_suffix(".key")),
            *("-CAcreateserial", "-extfile", extensions),
        )
        return certificate, key

    def _make_authority(self, name: str) -> Path:
        certificate = self._folder / f"{name}.pem"
        self._openssl(
            *("req", "-x509", *_NEW_KEY, "-keyout", certificate.with_suffix(".key")),
            *("-out", certificate, "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", "keyUsage=critical,keyCertSign"),
        )
        return certificate

    def _openssl(self, *arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class TlsFront:
    """Speaks TLS on a port of its own and passes on what it decrypts, as stunnel does.

    Attributes:
        plain: Connections whose first byte was not that of TLS.
        passed: Connections whose handshake was completed.
    """

    def __init__(self, certificate: tuple[Path, Path], behind: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        self._behind = behind
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.plain = self.passed = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            first = connection.recv(1, socket.MSG_PEEK)
            self.plain += first != bytes([_TLS_HANDSHAKE])
            with self._context.wrap_socket(connection, server_side=True) as outside:
                self.passed += 1
                with socket.create_connection(("127.0.0.1", self._behind)) as inside:
                    self._pass_on(outside, inside)

    @staticmethod
    def _pass_on(outside: ssl.SSLSocket, inside: socket.socket) -> None:
        """Copy in both directions until either side ends."""

        def answer() -> None:
            with contextlib.suppress(OSError):
                while content := inside.recv(1 << 16):
                    outside.sendall(content)
                outside.shutdown(socket.SHUT_RDWR)

        threading.Thread(target=answer, daemon=True).start()
        while content := outside.recv(1 << 16):
            inside.sendall(content)
