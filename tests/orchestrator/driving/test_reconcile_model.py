"""The reconciler against a model of the world in which everything that can go wrong does.

Hypothesis draws the order of deliveries, losses, duplicates, deaths, naps, poison, flushes
and clock steps over small plans. At every step each planned image has at most one result
and a run has at most one model (P1, P2), and once the faults stop the run finishes.
"""

from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from orchestrator.driving.reconcile import (
    DELIVERY_GRACE_S,
    MOST_STARTS,
    WINDOW,
    Action,
    Memory,
    Seen,
    reconcile,
)
from workers.items import CONVERT, TRAIN, Item
from workers.leases import LEASE_S

IMAGES_A_BATCH = 3


@dataclass
class Attempt:
    """A worker that is busy with an item."""

    item: Item
    token: int
    number: int


@dataclass
class Redis:
    """All that may be lost."""

    queue: list[Item] = field(default_factory=list)
    leases: dict[Item, float] = field(default_factory=dict)
    starts: dict[Item, int] = field(default_factory=dict)
    fences: dict[Item, int] = field(default_factory=dict)
    failed_attempts: dict[Item, str] = field(default_factory=dict)


class World(RuleBasedStateMachine):
    attempts = Bundle("attempts")

    @initialize(
        kind=st.sampled_from(["train", "label"]),
        batches=st.integers(1, 5),
        has_backbone=st.booleans(),
        poison=st.sets(
            st.tuples(st.integers(0, 4), st.integers(0, IMAGES_A_BATCH - 1)), max_size=4
        ),
    )
    def plan(self, kind, batches, has_backbone, poison):
        self.kind, self.batches = kind, batches
        self.poison = {(batch, image) for batch, image in poison if batch < batches}
        self.now = 0.0
        self.redis, self.memory = Redis(), Memory()
        # Storage: batch -> the images of it that are in quarantine.
        self.results: dict[int, frozenset[int]] = {}
        self.has_backbone, self.models = has_backbone, 0
        self.finished, self.failure = False, None

    # What goes on by itself

    @rule()
    def look(self):
        """The driver looks, decides and acts."""
        if self.finished:
            return
        redis = self.redis
        self.expire()
        alive = {*redis.queue, *redis.leases}
        seen = Seen(
            done=set(self.results),
            has_backbone=self.has_backbone,
            has_model=self.models > 0,
            alive=alive,
            leased=len(redis.leases),
            starts=dict(redis.starts),
            failed_attempts=dict(redis.failed_attempts),
            now=self.now,
            failure=self.failure,
        )
        actions, self.memory = reconcile(self.kind, self.batches, seen, self.memory)
        sent = [action.item for action in actions if action.kind == "send"]
        assert len(sent) == len(set(sent)) <= WINDOW
        assert not alive & set(sent)
        for action in actions:
            self.act(action)

    def act(self, action: Action):
        if action.kind == "send":
            assert self.has_backbone or action.item == CONVERT
            assert action.item != TRAIN or set(self.results) == set(range(self.batches))
            self.redis.queue.append(action.item)
        elif action.kind == "quarantine":
            assert self.redis.starts[action.item] >= MOST_STARTS
            self.commit_batch(action.item.batch, frozenset(range(IMAGES_A_BATCH)))
        elif action.kind == "finish":
            assert set(self.results) == set(range(self.batches)) or self.models
            assert self.models == (self.kind == "train")
            self.finished = True
        elif action.kind in ("pause", "fail"):
            # A person sees it, mends it, and resumes.
            self.redis.failed_attempts, self.redis.starts = {}, {}
            self.memory = Memory()
        else:
            raise AssertionError(action)

    @rule()
    def look_later(self):
        self.now += DELIVERY_GRACE_S
        self.look()

    @rule(target=attempts, place=st.integers(0, 100))
    def deliver(self, place):
        """A worker takes a message and holds its lease."""
        self.expire()
        redis = self.redis
        if not redis.queue:
            return multiple()
        item = redis.queue.pop(place % len(redis.queue))
        redis.leases[item] = self.now + LEASE_S
        redis.starts[item] = redis.starts.get(item, 0) + 1
        redis.fences[item] = redis.fences.get(item, 0) + 1
        return Attempt(item, redis.fences[item], redis.starts[item])

    @rule(attempt=consumes(attempts))
    def work_to_the_end(self, attempt):
        """In time, or long after its lease ended and somebody else did it."""
        item = attempt.item
        if item.batch is not None:
            sick = {image for batch, image in self.poison if batch == item.batch}
            if sick and attempt.number == 1:
                return  # the fast way dies with its first poison image
            if item.batch not in self.results:
                self.commit_batch(item.batch, frozenset(sick))
        elif item == CONVERT:
            self.has_backbone = True
        elif self.redis.fences.get(item, 0) <= attempt.token and not self.models:
            # The fence first, then create-if-absent.
            self.models += 1
        self.give_up(attempt)
        self.redis.failed_attempts.pop(item, None)

    # What goes wrong

    @rule(attempt=consumes(attempts))
    def die(self, attempt):
        """Without a word; the lease ends by itself and the start goes on counting."""

    @rule(attempt=consumes(attempts))
    def report_failed_attempt(self, attempt):
        """A full disk: the attempt ends with a reason, and is no start without an end."""
        self.give_up(attempt)
        self.redis.failed_attempts[attempt.item] = "No space left on device."

    @rule(place=st.integers(0, 100))
    def lose_a_message(self, place):
        if self.redis.queue:
            self.redis.queue.pop(place % len(self.redis.queue))

    @rule(place=st.integers(0, 100))
    def deliver_twice(self, place):
        if self.redis.queue:
            self.redis.queue.append(self.redis.queue[place % len(self.redis.queue)])

    @rule()
    def forget_all(self):
        self.redis = Redis()

    @rule()
    def driver_dies(self):
        self.memory = Memory()

    @rule(seconds=st.sampled_from([0.2, 1.0, 5.0, 30.0, 4000.0]))
    def time_goes_by(self, seconds):
        self.now += seconds

    @rule(batch=st.integers(0, 4))
    def damage_a_shard(self, batch):
        """Readers find it, and the trainer marks the batch to be done again."""
        if not self.models and not self.finished and batch in self.results:
            del self.results[batch]
            # The driver starts over, as it does when the trainer has marked batches.
            self.memory = Memory()

    # What must hold

    @invariant()
    def one_model(self):
        assert self.models <= 1

    @invariant()
    def nobody_is_blamed_for_a_neighbour(self):
        for batch, quarantined in self.results.items():
            sick = {image for place, image in self.poison if place == batch}
            assert quarantined in (sick, frozenset(range(IMAGES_A_BATCH)))

    def teardown(self):
        """The faults stop; a fair world finishes what is left."""
        if not hasattr(self, "kind"):
            return
        for _ in range(60 * (self.batches + 2)):
            if self.finished:
                break
            self.look()
            while self.redis.queue:
                self.work_to_the_end(self.deliver(0))
            self.now += 1.0
        assert self.finished
        assert sorted(self.results) == list(range(self.batches)) or self.models

    def expire(self):
        leases = self.redis.leases
        self.redis.leases = {item: end for item, end in leases.items() if end > self.now}

    def give_up(self, attempt: Attempt):
        """As `workers.leases` does: a newer holder's lease and count are its own."""
        if self.redis.fences.get(attempt.item, 0) <= attempt.token:
            self.redis.starts.pop(attempt.item, None)
            self.redis.leases.pop(attempt.item, None)

    def commit_batch(self, batch: int, quarantined: frozenset[int]):
        assert batch not in self.results
        self.results[batch] = quarantined


TestWorld = World.TestCase
TestWorld.settings = settings(
    max_examples=settings().max_examples * 3 // 2,
    stateful_step_count=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
