"""Pretrained weights: found, or downloaded once from a real server and checked."""

import base64
import gzip
import hashlib
import http.server
import os
import threading
from dataclasses import replace
from typing import ClassVar

import pytest

from cli.advice import describe_error
from orchestrator.planning.weights import download_weights, locate_weights, resolve_backbone
from tests.builders.weights import as_hdf5
from workers.backbones.table import find_spec
from workers.backbones.weights import describe_origin, digest_file
from workers.errors import NoWeightsError, UnknownArchitectureError, WeightsError
from workers.settings import Settings

CONTENT = as_hdf5(b"weights" * 100_000)
SPEC = find_spec("mobilenet_0.50_224")


class Publisher(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT after `refusals` broken answers."""

    refusals = 0
    requests = 0
    content = CONTENT
    headers_sent: ClassVar[dict[str, str]] = {}

    def do_GET(self):
        type(self).requests += 1
        self.send_response(200)
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        if not self.headers_sent:
            self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        short = type(self).requests <= type(self).refusals
        self.wfile.write(self.content[:100] if short else self.content)

    def log_message(self, *_):
        pass


@pytest.fixture
def publisher():
    Publisher.refusals = Publisher.requests = 0
    Publisher.content, Publisher.headers_sent = CONTENT, {}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield replace(SPEC, weights_url=f"http://127.0.0.1:{server.server_port}/{SPEC.weights_file}")
    server.shutdown()
    server.server_close()


def test_a_download_is_written_whole_and_reports_its_progress(publisher, tmp_path):
    seen = []

    download_weights(publisher, tmp_path / "w.h5", seen.append)

    assert (tmp_path / "w.h5").read_bytes() == CONTENT
    assert (seen[-1].phase, seen[-1].note) == ("downloading weights", "0.7 of 0.7 MB")


def test_a_download_that_breaks_off_is_tried_again(publisher, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    Publisher.refusals = 2

    download_weights(publisher, tmp_path / "w.h5", lambda *_: None)

    assert (tmp_path / "w.h5").read_bytes() == CONTENT
    assert Publisher.requests == 3


def test_a_wrong_checksum_throws_the_download_away(publisher, tmp_path):
    spec = replace(publisher, weights_md5="0" * 32)

    with pytest.raises(NoWeightsError, match="wrong checksum"):
        download_weights(spec, tmp_path / "w.h5", lambda *_: None)
    assert list(tmp_path.glob("*.h5")) == []


LOG_IN = b"\n<!DOCTYPE html><title>Log in</title>"
CLOSES_EARLY = {"Server": "without a length"}


@pytest.mark.parametrize(
    ("content", "headers", "reason"),
    [
        (LOG_IN, {}, "a web page, such as the log-in page"),
        (b"\xef\xbb\xbf<html>", {"Content-Type": "text/html"}, "a web page"),
        (b"", {}, "it is empty"),
        (b'{"error": "quota"}', {}, "not an HDF5 file"),
        (gzip.compress(CONTENT), {"Content-Encoding": "gzip"}, "compressed"),
        (CONTENT[:-1], CLOSES_EARLY, "breaks off after 700,095 of 700,096"),
        (CONTENT[:50], CLOSES_EARLY, "breaks off after 50 of 96"),
        (CONTENT, {"x-goog-hash": "crc32c=AAAAAA==,md5=AAAAAAAAAAAAAAAAAAAAAA=="}, "checksum"),
    ],
)
def test_what_is_no_weights_is_thrown_away_with_what_it_is(
    publisher, tmp_path, content, headers, reason
):
    Publisher.content, Publisher.headers_sent = content, headers

    with pytest.raises(NoWeightsError, match=reason) as raised:
        download_weights(publisher, tmp_path / "w.h5", lambda *_: None)

    assert raised.value.url == publisher.weights_url
    assert list(tmp_path.iterdir()) == []


def test_a_download_with_the_checksum_of_its_server_is_kept(publisher, tmp_path):
    md5 = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
    Publisher.headers_sent = {"x-goog-hash": f"md5={md5}", "Content-Length": str(len(CONTENT))}

    download_weights(publisher, tmp_path / "w.h5", lambda *_: None)

    assert (tmp_path / "w.h5").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\n", "pointer of Git LFS"),
        (b"", "it is empty"),
        (b"PK\x03\x04 model.keras", "a ZIP file"),
        (CONTENT[:5000], "breaks off after 5,000 of 700,096"),
    ],
)
def test_a_damaged_file_is_named_and_not_copied(tmp_path, content, reason):
    (tmp_path / "mine").mkdir()
    file = tmp_path / "mine" / SPEC.weights_file
    file.write_bytes(content)
    settings = Settings(tmp_path / "storage", weights_dirs=(tmp_path / "mine",))

    for given in (None, file):
        with pytest.raises(WeightsError, match=reason) as raised:
            locate_weights(settings, SPEC, given, lambda *_: None)
        assert f"The file {file} holds no weights" in str(raised.value)
    assert not (tmp_path / "storage" / "weights").exists()


def test_storage_remembers_where_weights_came_from(storage, tmp_path):
    given = tmp_path / os.fsdecode(b"gew\xffichte.h5")
    given.write_bytes(CONTENT)

    digest = locate_weights(Settings(storage.root), SPEC, given, lambda *_: None)

    assert describe_origin(storage.weights(digest)) == str(given)
    assert describe_origin(tmp_path / "other.h5") == str(tmp_path / "other.h5")


def test_a_folder_that_is_given_is_said(tmp_path):
    with pytest.raises(WeightsError, match="is a folder"):
        resolve_backbone(Settings(tmp_path), SPEC.name, str(tmp_path), lambda *_: None)


def test_without_a_network_it_is_said_which_file_is_missing_and_where_to_put_it(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("time.sleep", lambda _: None)
    spec = replace(SPEC, weights_url="http://127.0.0.1:1/w.h5")

    with pytest.raises(NoWeightsError) as raised:
        download_weights(spec, tmp_path / "w.h5", lambda *_: None)
    said = describe_error(raised.value, {})
    flags = ("--weights-dir", "POETS_WEIGHTS_DIR", "--model_dir")
    for part in (SPEC.weights_file, str(tmp_path), spec.weights_url, *flags):
        assert part in said


def test_weights_are_found_in_subfolders_and_put_into_storage_by_their_hash(storage, tmp_path):
    (tmp_path / "mine" / "deep").mkdir(parents=True)
    (tmp_path / "mine" / "deep" / SPEC.weights_file).write_bytes(CONTENT)
    settings = Settings(storage.root, weights_dirs=(tmp_path / "mine",))

    key = resolve_backbone(settings, SPEC.name, None, lambda *_: None)

    stored = storage.root / "weights" / f"{key.weights_digest}.h5"
    assert digest_file(stored) == key.weights_digest
    assert key.architecture == SPEC.name
    assert key.id.startswith("mobilenet_0.50_224-")


def test_a_given_file_wins(storage, tmp_path):
    given = tmp_path / "given.h5"
    given.write_bytes(as_hdf5(b"other"))

    digest = locate_weights(Settings(storage.root), SPEC, given, lambda *_: None)

    assert digest == digest_file(given)


def test_a_link_that_is_given_is_followed(storage, tmp_path):
    (tmp_path / "weights.h5").write_bytes(as_hdf5(b"other"))
    (tmp_path / "link.h5").symlink_to("weights.h5")
    settings = Settings(storage.root)

    digest = locate_weights(settings, SPEC, tmp_path / "link.h5", lambda *_: None)

    assert digest == digest_file(tmp_path / "weights.h5")


def test_a_link_that_is_found_is_neither_followed_nor_copied(tmp_path):
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / SPEC.weights_file).symlink_to(tmp_path / "secret")
    settings = Settings(tmp_path / "storage", weights_dirs=(tmp_path / "mine",))

    with pytest.raises(WeightsError, match="a link, which is not followed"):
        locate_weights(settings, SPEC, None, lambda *_: None)

    assert not (tmp_path / "storage" / "weights").exists()


def test_a_given_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(WeightsError, match="no weights file"):
        resolve_backbone(Settings(tmp_path), SPEC.name, str(tmp_path / "x.h5"), lambda *_: None)


def test_random_weights_need_no_file(tmp_path):
    first, second = (
        resolve_backbone(Settings(tmp_path), "mobilenet_0.25_128", weights, lambda *_: None)
        for weights in ("random-7", "random-8")
    )

    assert (first.architecture, first.weights_digest) == ("mobilenet_0.25_128", "random-7")
    assert first.id != second.id


def test_an_unknown_architecture_is_said_before_any_search(tmp_path):
    with pytest.raises(UnknownArchitectureError, match=r"mobilenet_0\.50_224"):
        resolve_backbone(Settings(tmp_path), "mobilenet_0.5_224", None, lambda *_: None)
