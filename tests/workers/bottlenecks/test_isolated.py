"""Images that kill, hang or starve the process that reads them become rows with a reason."""

import json
import os
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from tests.builders.backbones import BACKBONE, BACKBONE_ID
from tests.builders.pictures import damage_jpeg, make_picture
from workers.backbones.litert import LiteRTBackbone
from workers.bottlenecks.computing import compute_results
from workers.bottlenecks.isolated import compute_isolated
from workers.bottlenecks.requests import Request
from workers.errors import StorageError
from workers.images.distortions import Recipe


def pictures(folder, *names):
    """Write a picture of each name, each its own, and return requests for them."""
    return [
        Request(str(make_picture(folder / name, (9, 99, 200), n))) for n, name in enumerate(names)
    ]


def isolated(storage, images):
    return list(compute_isolated(storage, BACKBONE, images, lambda: None))


def reasons(results):
    return [result.error for result in results]


def test_images_that_end_their_process_are_named_and_the_others_are_kept(
    poison, ready_storage, tmp_path
):
    images = pictures(tmp_path, "a.jpg", "aborts.jpg", "kills.jpg", "b.jpg", "exits.jpg", "c.jpg")
    damage_jpeg(tmp_path / "b.jpg")

    results = isolated(ready_storage, images)

    assert [bool(result.warning) for result in results] == [n == 3 for n in range(6)]

    assert reasons(results) == [
        None,
        "killed the process that read it (SIGABRT)",
        "killed the process that read it (SIGKILL)",
        None,
        "ended the process that read it (exit code 7)",
        None,
    ]
    for result in results:
        assert (result.bottleneck is None) == (result.digest is None) == bool(result.error)


def test_an_image_whose_process_was_killed_from_outside_is_tried_again(
    poison, ready_storage, tmp_path
):
    results = isolated(ready_storage, pictures(tmp_path, "aborts_once.jpg", "b.jpg"))

    assert (tmp_path / "aborts_once.jpg.pid").exists()
    assert reasons(results) == [None, None]


def test_an_image_that_hangs_is_given_up_in_time(poison, impatience, ready_storage, tmp_path):
    beats = []
    images = pictures(tmp_path, "hangs.jpg", "b.jpg")

    results = list(compute_isolated(ready_storage, BACKBONE, images, lambda: beats.append(1)))

    assert reasons(results) == ["hangs: gave no result within 60 s", None]
    assert len(beats) >= 2


def test_a_careful_result_is_the_very_result_of_the_fast_way(ready_storage, tmp_path):
    images = pictures(tmp_path, "a.jpg", "b.jpg", "c.jpg", "name \udcff\n'.jpg")
    size, version = os.stat(images[2][0]).st_size, os.stat(images[2][0]).st_mtime_ns
    images[2] = Request(images[2].path, (size, version))
    backbone = LiteRTBackbone(ready_storage.backbone(BACKBONE_ID) / "backbone.tflite")

    found = isolated(ready_storage, images)

    for one, other in zip(found, compute_results(images, backbone, lambda: None), strict=True):
        assert one.error is None
        assert one.digest == other.digest
        assert one.bottleneck.dtype == np.float32
        assert np.array_equal(one.bottleneck, other.bottleneck)


def test_broken_changed_and_missing_images_keep_their_reasons(ready_storage, tmp_path):
    images = pictures(tmp_path, "broken.jpg", "changed.jpg", "pipe.jpg", "gone.jpg", "good.jpg")
    Path(images[0][0]).write_bytes(b"")
    images[1] = Request(images[1].path, (1, 1))
    os.unlink(images[2][0])
    os.mkfifo(images[2][0])
    os.unlink(images[3][0])

    results = isolated(ready_storage, images)

    assert reasons(results) == [
        "empty file",
        "changed after the run was planned; submit the folder again",
        "not a regular file",
        "cannot be opened: No such file or directory",
        None,
    ]
    assert results[0].digest is not None
    assert results[1].digest is None


def test_a_process_that_cannot_start_is_no_fault_of_an_image(storage, tmp_path):
    with pytest.raises(StorageError, match="cannot start: ended the process"):
        isolated(storage, pictures(tmp_path, "a.jpg"))


def test_nothing_is_started_for_no_images(ready_storage, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere")

    assert isolated(ready_storage, []) == []


# In a process of its own, so that what it leaves behind ends with it.
BREAK_OFF = """
import json, os, sys
from pathlib import Path
from workers.backbones.table import BackboneKey
from workers.bottlenecks.requests import Request
from workers.bottlenecks.isolated import compute_isolated
from workers.storage.layout import Storage

key = BackboneKey(*json.loads(sys.argv[2]))
storage, images = Storage(Path(sys.argv[1])), [Request(sys.argv[3]), Request(sys.argv[4])]
results = compute_isolated(storage, key, images, lambda: None)
assert next(results).error is None
results.close()
print(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_work_that_is_broken_off_leaves_no_process(ready_storage, tmp_path):
    key = json.dumps(astuple(BACKBONE))
    paths = [request.path for request in pictures(tmp_path, "a.jpg", "b.jpg")]

    found = subprocess.run(
        [sys.executable, "-c", BREAK_OFF, str(ready_storage.root), key, *paths],
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout == "[]\n"


def with_variants(images, count=2):
    recipes = [Recipe(True, 10, 5, 5, 0, number) for number in range(1, count + 1)]
    return [
        Request(path, planned, recipe) for path, planned, _ in images for recipe in (None, *recipes)
    ]


def test_careful_variants_are_the_very_variants_of_the_fast_way(ready_storage, tmp_path):
    images = with_variants(pictures(tmp_path, "a.jpg", "b.jpg"), 9)
    backbone = LiteRTBackbone(ready_storage.backbone(BACKBONE_ID) / "backbone.tflite")

    found = isolated(ready_storage, images)

    for one, other in zip(found, compute_results(images, backbone, lambda: None), strict=True):
        assert (one.error, one.digest) == (None, other.digest)
        assert np.array_equal(one.bottleneck, other.bottleneck)


def test_a_poisonous_image_takes_its_variants_with_it_in_two_attempts(
    poison, ready_storage, tmp_path, monkeypatch
):
    started, popen = [], subprocess.Popen

    def note(*arguments, **options):
        started.append(arguments)
        return popen(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", note)

    results = isolated(ready_storage, with_variants(pictures(tmp_path, "aborts.jpg", "b.jpg"), 8))

    reason = "killed the process that read it (SIGABRT)"
    assert reasons(results) == [reason] * 9 + [None] * 9
    assert len(started) == 3
