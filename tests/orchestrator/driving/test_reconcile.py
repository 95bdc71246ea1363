"""The reconciler as a table: what is seen and remembered -> what is done."""

from dataclasses import replace

import pytest

from orchestrator.driving.reconcile import (
    DELIVERY_GRACE_S,
    LEAST_WINDOW,
    MOST_FAILED_ATTEMPTS,
    MOST_STARTS,
    WINDOW,
    WINDOW_PER_WORKER,
    Action,
    Memory,
    Seen,
    reconcile,
)
from workers.items import CONVERT, TRAIN, Item

FIRST = Item.of_batch(0)
NOTHING = Seen(
    done=frozenset(),
    has_backbone=True,
    has_model=False,
    alive=frozenset(),
    leased=0,
    starts={},
    failed_attempts={},
    now=100.0,
)
JUST_NOW, LONG_AGO = NOTHING.now - DELIVERY_GRACE_S / 2, NOTHING.now - 60
ALL_DONE = frozenset({0, 1, 2})


def send(*items: object) -> list[Action]:
    return [Action("send", Item.parse(str(item))) for item in items]


TABLE = {
    # name: (kind, what is seen, what is remembered, what is done)
    "nothing is there: convert first": ("train", {"has_backbone": False}, {}, send("convert")),
    "a conversion under way is left alone": (
        "train",
        {"has_backbone": False, "alive": {CONVERT}},
        {},
        [],
    ),
    "every batch is sent": ("train", {}, {}, send(0, 1, 2)),
    "a batch in storage is not sent": ("train", {"done": {1}}, {}, send(0, 2)),
    "a queued or leased batch is not sent again": (
        "train",
        {"alive": {FIRST, Item.of_batch(2)}},
        {},
        send(1),
    ),
    "a message that a worker has just taken is waited for": (
        "train",
        {},
        {"last_alive": {FIRST: JUST_NOW}},
        send(1, 2),
    ),
    "a message that vanished is sent again": (
        "train",
        {},
        {"last_alive": {FIRST: LONG_AGO}},
        send(0, 1, 2),
    ),
    "all batches are done: train": ("train", {"done": ALL_DONE}, {}, send("train")),
    "a trainer under way is left alone": (
        "train",
        {"done": ALL_DONE, "alive": {TRAIN}},
        {},
        [],
    ),
    "a trainer that died is sent again": (
        "train",
        {"done": ALL_DONE, "starts": {TRAIN: 1}},
        {"last_alive": {TRAIN: LONG_AGO}},
        send("train"),
    ),
    "there is a model: finish": ("train", {"has_model": True}, {}, [Action("finish")]),
    "labelling ends with its last batch": ("label", {"done": ALL_DONE}, {}, [Action("finish")]),
    "labelling never trains": ("label", {"done": {0, 1}}, {}, send(2)),
    "a batch that kills its worker is tried again": (
        "train",
        {"done": {1, 2}, "starts": {FIRST: MOST_STARTS - 1}},
        {"last_alive": {FIRST: LONG_AGO}},
        send(0),
    ),
    "a batch that kills every worker is given up": (
        "train",
        {"done": {1, 2}, "starts": {FIRST: MOST_STARTS}},
        {"last_alive": {FIRST: LONG_AGO}},
        [Action("quarantine", FIRST, f"the batch ended its worker {MOST_STARTS} times")],
    ),
    "a trainer that always dies fails the run": (
        "train",
        {"done": ALL_DONE, "starts": {TRAIN: MOST_STARTS}},
        {"last_alive": {TRAIN: LONG_AGO}},
        [
            Action(
                "fail",
                TRAIN,
                f"The worker died {MOST_STARTS} times while it was busy (train).",
            )
        ],
    ),
    "a failed attempt is waited out": (
        "train",
        {"done": {1, 2}, "failed_attempts": {FIRST: "disk full"}},
        {"last_alive": {FIRST: NOTHING.now - 1}},
        [],
    ),
    "after a wait, what failed is tried again": (
        "train",
        {"done": {1, 2}, "failed_attempts": {FIRST: "disk full"}},
        {"last_alive": {FIRST: LONG_AGO}},
        send(0),
    ),
    "failed attempts without end pause the run with their reason": (
        "train",
        {"failed_attempts": {FIRST: "disk full"}},
        {
            "last_alive": {FIRST: LONG_AGO},
            "failed_attempts": {FIRST: MOST_FAILED_ATTEMPTS - 1},
            "strikes": MOST_FAILED_ATTEMPTS - 1,
            "well": LONG_AGO,
        },
        [Action("pause", FIRST, "disk full")],
    ),
    "a cancelled run stops, whatever is left": (
        "train",
        {"is_cancelled": True, "has_model": True},
        {},
        [Action("stop")],
    ),
    "a failed run fails with its reason": (
        "train",
        {"failure": "bad weights"},
        {},
        [Action("fail", reason="bad weights")],
    ),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE.keys())
def test_what_is_seen_decides_what_is_done(row):
    kind, seen, memory, expected = row

    actions, _ = reconcile(kind, 3, replace(NOTHING, **seen), Memory(**memory))

    assert actions == expected


def test_a_bounded_window_is_in_flight_however_large_the_run():
    actions, memory = reconcile("train", 100_000, NOTHING, Memory())

    assert len(actions) == WINDOW
    again, _ = reconcile("train", 100_000, replace(NOTHING, now=100.2), memory)
    assert again == []


def test_the_window_grows_with_the_workers_and_moves_with_what_is_done():
    done = frozenset(range(1000))
    seen = replace(NOTHING, leased=100, done=done)

    actions, memory = reconcile("train", 100_000, seen, Memory())

    assert [action.item.batch for action in actions] == list(range(1000, 1400))
    assert memory.first == 1000


def test_runs_that_wait_have_equal_parts_of_what_keeps_the_workers_busy():
    def window(**seen):
        return len(reconcile("label", 10_000, replace(NOTHING, **seen), Memory())[0])

    assert window(leased=8, busy=8) == 32
    assert window(leased=4, busy=8, rivals=1) == window(leased=1, busy=8, rivals=1) == 16
    assert window(leased=0, busy=8, rivals=33) == LEAST_WINDOW
    # Messages of strangers may lie there, too.
    assert window(leased=0, busy=5000) == WINDOW_PER_WORKER * WINDOW


def test_quick_batches_have_a_window_as_large_as_what_was_done_between_two_looks():
    _, memory = reconcile("label", 10_000, NOTHING, Memory())
    later = replace(NOTHING, done=frozenset(range(25)), now=101.0)

    actions, _ = reconcile("label", 10_000, later, memory)
    resumed, _ = reconcile("label", 10_000, later, Memory())

    assert len(actions) == 50
    assert len(resumed) == WINDOW


def test_a_batch_from_before_the_window_shrank_is_not_sent_again():
    actions, memory = reconcile("label", 1000, replace(NOTHING, leased=8), Memory())
    sent = [action.item for action in actions]
    assert len(sent) == 32
    # Another run begins; all that waited is taken or waits.
    crowded = replace(NOTHING, alive=frozenset(sent), leased=8, busy=8, rivals=9, now=101.0)
    _, memory = reconcile("label", 1000, crowded, memory)
    # The others are gone, and a worker has just taken the last of them.
    alone = replace(crowded, alive=frozenset(sent[:-1]), rivals=0, now=102.0)

    actions, _ = reconcile("label", 1000, alone, memory)

    assert actions == []


def test_a_small_job_does_not_wait_for_the_end_of_a_large_one():
    """Four workers take from one queue, first come, first served, one batch each second."""
    sizes = {"large": 1000, "small": 6}
    done, memory = {name: set() for name in sizes}, dict.fromkeys(sizes, Memory())
    queue, taken, started = [], [], {"large": 0.0, "small": 20.0}
    for now in (float(second) for second in range(100)):
        for name, size in sizes.items():
            if now < started[name] or len(done["small"]) == sizes["small"]:
                continue
            waiting = {item for run, item in queue if run == name}
            leased = {item for run, item in taken if run == name}
            seen = replace(
                NOTHING,
                done=frozenset(done[name]),
                alive=frozenset(waiting | leased),
                leased=len(leased),
                busy=len(taken),
                rivals=int(any(run != name for run, _ in queue)),
                now=now,
            )
            actions, memory[name] = reconcile("label", size, seen, memory[name])
            queue += [(name, action.item) for action in actions if action.kind == "send"]
        for name, item in taken:
            done[name].add(item.batch)
        taken, queue = queue[:4], queue[4:]
        if len(done["small"]) == sizes["small"]:
            break

    # It has had to wait for what the workers do in a few seconds, not for 900 batches.
    assert now - started["small"] <= 12
    assert len(done["large"]) >= 4 * 18


def test_losing_the_memory_costs_only_duplicates():
    first, _ = reconcile("train", 3, NOTHING, Memory())
    second, _ = reconcile("train", 3, NOTHING, Memory())

    assert first == second


def test_storage_that_takes_files_again_ends_the_count_of_troubles():
    troubled = replace(NOTHING, failed_attempts={FIRST: "disk full"}, done={1, 2})
    _, memory = reconcile("train", 3, troubled, Memory({FIRST: LONG_AGO}))
    assert memory.failed_attempts == {FIRST: 1}

    later = replace(NOTHING, done={1, 2}, now=500.0)
    _, memory = reconcile("train", 3, later, memory)

    assert memory.failed_attempts == {}


def fail_often(memory, done, times):
    """Return the actions after the last of `times` failed attempts at the first batch."""
    actions = []
    for n in range(times):
        seen = replace(NOTHING, failed_attempts={FIRST: "bad mount"}, done=done(n), now=1000.0 * n)
        actions, memory = reconcile("label", 100, seen, memory)
    return [action for action in actions if action.item in (FIRST, None)]


def test_a_batch_that_fails_is_tried_for_as_long_as_others_are_finished():
    """Somebody can do what one bad worker cannot."""
    often = MOST_FAILED_ATTEMPTS * 5

    assert fail_often(Memory(), lambda n: frozenset(range(1, n + 1)), often) == send(0)
    stuck = fail_often(Memory(), lambda n: frozenset({1}), MOST_FAILED_ATTEMPTS)
    assert stuck == [Action("pause", FIRST, "bad mount")]


def test_a_run_is_driven_to_its_end_even_when_every_second_message_is_lost():
    """Play the whole game with a worker that finishes whatever reaches it."""
    done: set[int] = set()
    memory, sent, now, has_model = Memory(), 0, 0.0, False
    for _ in range(500):
        now += 1.0
        seen = replace(NOTHING, done=frozenset(done), has_model=has_model, now=now)
        actions, memory = reconcile("train", 200, seen, memory)
        for action in actions:
            if action.kind == "finish":
                assert done == set(range(200))
                return
            sent += 1
            if sent % 2 and action.item == TRAIN:
                has_model = True
            elif sent % 2:
                done.add(action.item.batch)
    pytest.fail("the run did not end")
