"""Cores, memory and limits of containers, from made trees of cgroup files."""

import os
from pathlib import Path

import pytest

from workers.processes.capacity import (
    BESIDE_BYTES,
    CHILD_BYTES,
    MEGABYTE,
    Capacity,
    _hides_gpus,
    choose_processes,
    choose_threads,
    find_capacity,
    is_too_small,
)

GIGABYTE = 1024 * MEGABYTE
UNLIMITED = "9223372036854771712"  # what version 1 says


def machine(root, own, mounts, files, memory_bytes=16 * GIGABYTE):
    """Write the files of ``/proc`` and ``/sys`` that count."""
    written = {
        "proc/meminfo": f"MemTotal:       {memory_bytes // 1024} kB\nMemFree: 1 kB\n",
        "proc/self/cgroup": "".join(f"{line}\n" for line in own),
        "proc/self/mountinfo": "".join(f"{line}\n" for line in mounts),
        **{f"sys/fs/cgroup/{name}": f"{text}\n" for name, text in files.items()},
    }
    for name, text in written.items():
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return find_capacity(root)


def version_2(root, own, files, mounted="/"):
    mount = f"29 23 0:26 {mounted} /sys/fs/cgroup ro,nosuid shared:4 - cgroup2 cgroup rw,nsdelegate"
    proc = "22 27 0:21 / /proc rw,relatime - proc proc rw"
    return machine(root, [f"0::{own}"], [proc, mount], files)


def version_1(root, own, files, mounted="/"):
    names = ("cpu,cpuacct", "memory")
    mounts = [
        f"3{i} 31 0:29 {mounted} /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}"
        for i, name in enumerate(names)
    ]
    lines = [f"{i}:{name}:{own}" for i, name in enumerate(names)]
    return machine(root, [*lines, "1:name=systemd:/elsewhere", "0::/"], mounts, files)


def test_without_cgroups_a_machine_is_what_it_is(tmp_path):
    found = machine(tmp_path, [], [], {})

    assert found.cores == len(os.sched_getaffinity(0))
    assert (found.quota, found.memory_bytes) == (None, 16 * GIGABYTE)
    assert not found.is_memory_limited


def test_version_2_says_what_a_container_may_use(tmp_path):
    files = {"cpu.max": "150000 100000", "memory.max": str(512 * MEGABYTE)}

    found = version_2(tmp_path, "/", files)

    assert (found.quota, found.memory_bytes) == (1.5, 512 * MEGABYTE)
    assert found.memory_text == "512 MB of memory that the cgroup allows"


def test_version_2_without_limits(tmp_path):
    found = version_2(tmp_path, "/a", {"a/cpu.max": "max 100000", "a/memory.max": "max"})

    assert (found.quota, found.memory_bytes) == (None, 16 * GIGABYTE)


def test_the_tightest_limit_along_the_path_counts(tmp_path):
    files = {
        "slice/pod/box/cpu.max": "400000 100000",
        "slice/pod/cpu.max": "50000 100000",
        "slice/cpu.max": "800000 100000",
        "slice/pod/box/memory.max": "max",
        "slice/memory.max": str(GIGABYTE),
        # Beside the path, so it says nothing about this process.
        "slice/other/cpu.max": "1000 100000",
        "slice/other/memory.max": "4096",
    }

    found = version_2(tmp_path, "/slice/pod/box", files)

    assert (found.quota, found.memory_bytes) == (0.5, GIGABYTE)


def test_version_1_says_what_a_container_may_use(tmp_path):
    files = {
        "cpu,cpuacct/docker/1/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/docker/cpu.cfs_quota_us": "25000",
        "cpu,cpuacct/docker/cpu.cfs_period_us": "10000",
        "memory/docker/1/memory.limit_in_bytes": str(2 * GIGABYTE),
        "memory/memory.limit_in_bytes": UNLIMITED,
    }

    found = version_1(tmp_path, "/docker/1", files)

    assert (found.quota, found.memory_bytes) == (2.5, 2 * GIGABYTE)


def test_version_1_without_limits(tmp_path):
    files = {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "memory/memory.limit_in_bytes": UNLIMITED}

    found = version_1(tmp_path, "/", files)

    assert (found.quota, found.memory_bytes) == (None, 16 * GIGABYTE)
    assert not found.is_memory_limited


@pytest.mark.parametrize(
    ("own", "mounted"),
    [
        ("/docker/1", "/docker/1"),  # version 1 in a container: both as the host sees them
        ("/docker/1", "/kubepods/2"),
        ("/../../elsewhere", "/"),  # outside of the cgroup namespace
    ],
)
@pytest.mark.parametrize("version", [version_1, version_2])
def test_a_container_finds_its_limits_at_the_top_of_what_it_sees(tmp_path, version, own, mounted):
    files = {"cpu.max": "100000 100000", "cpu,cpuacct/cpu.cfs_quota_us": "100000"}
    files["cpu,cpuacct/cpu.cfs_period_us"] = "100000"

    assert version(tmp_path, own, files, mounted).quota == 1


@pytest.mark.parametrize("text", ["", "nonsense", "0 100000", "100000 0", "-1 100000"])
def test_a_file_that_makes_no_sense_is_no_limit(tmp_path, text):
    found = version_2(tmp_path, "/", {"cpu.max": text, "memory.max": text})

    assert (found.quota, found.memory_bytes) == (None, 16 * GIGABYTE)


def test_this_machine_has_a_core_and_memory():
    found = find_capacity()

    assert 1 <= found.usable_cores <= found.cores
    assert found.memory_bytes > 100 * MEGABYTE


@pytest.mark.parametrize(
    ("capacity", "processes", "reason"),
    [
        (Capacity(8, None, 64 * GIGABYTE), 8, "one per core"),
        (Capacity(8, 1.5, 64 * GIGABYTE), 2, "its cgroup allows 1.5 of 8 cores, rounded up"),
        (Capacity(8, 2, 64 * GIGABYTE), 2, "its cgroup allows 2 of 8 cores"),
        (Capacity(8, 0.1, 64 * GIGABYTE), 1, "its cgroup allows 0.1 of 8 cores, rounded up"),
        (Capacity(2, 16, 64 * GIGABYTE), 2, "one per core"),
        (Capacity(8, None, GIGABYTE, True), 2, "1,024 MB of memory that the cgroup allows"),
        (Capacity(8, None, 100 * MEGABYTE), 1, "100 MB of memory of this machine"),
        (Capacity(1, None, 100 * MEGABYTE), 1, "one per core"),
    ],
)
def test_a_process_a_core_as_far_as_limits_and_memory_go(capacity, processes, reason):
    choice = choose_processes(capacity, on_gpu=False)

    assert choice.value == processes
    assert reason in choice.reason
    assert str(choice) == f"{processes}: {choice.reason}"


def test_as_many_processes_as_are_chosen_fit_into_the_memory():
    for megabytes in range(700, 9000, 130):
        chosen = choose_processes(Capacity(64, None, megabytes * MEGABYTE), on_gpu=False).value

        assert BESIDE_BYTES + chosen * CHILD_BYTES <= megabytes * MEGABYTE


def test_a_gpu_has_one_process_with_one_thread():
    capacity = Capacity(16, None, 64 * GIGABYTE)

    assert choose_processes(capacity, on_gpu=True).value == 1
    assert choose_threads(capacity, on_gpu=True).value == 1


@pytest.mark.parametrize(
    ("capacity", "threads"),
    [
        (Capacity(8, None, 64 * GIGABYTE), 1),
        (Capacity(8, 1.5, 64 * GIGABYTE), 1),
        (Capacity(4, None, GIGABYTE, True), 2),  # two processes
        (Capacity(3, None, GIGABYTE, True), 1),
        (Capacity(64, None, GIGABYTE, True), 4),
        (Capacity(64, 4, GIGABYTE, True), 2),
    ],
)
def test_cores_that_the_memory_leaves_idle_become_threads(capacity, threads):
    assert choose_threads(capacity, on_gpu=False).value == threads


def test_memory_for_less_than_one_process_is_too_small():
    assert is_too_small(Capacity(8, None, 512 * MEGABYTE))
    assert not is_too_small(Capacity(8, None, GIGABYTE))


@pytest.mark.parametrize(
    "value", ["", "-1", "none", "NoDevFiles", "void", " -1 ", "-1,0", ",0", "a"]
)
def test_these_values_hide_every_gpu(value):
    assert _hides_gpus({"CUDA_VISIBLE_DEVICES": value})


@pytest.mark.parametrize(
    "value", ["0", " 0 ", "1,0", "0,-1", "GPU-8932f937", "MIG-GPU-8932f937/1/2"]
)
def test_these_values_show_a_gpu(value):
    assert not _hides_gpus({"CUDA_VISIBLE_DEVICES": value})
    assert not _hides_gpus({})
