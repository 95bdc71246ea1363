"""Drive a run to its end, one process at a time: see what there is, decide, act, repeat.

It runs in the command that attends a run, or in the coordinator. Everything that it
knows can be rebuilt from storage.
"""

import contextlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
import redis
from kombu.exceptions import KombuError

from orchestrator.driving.broker import Broker, DriverLock, describe_wait
from orchestrator.driving.done_batches import Stored
from orchestrator.driving.reconcile import Action, Memory, Seen, reconcile
from orchestrator.driving.result import Result, finish_run, read_failure, read_result
from orchestrator.driving.unreachable import check_unreachable, find_unreachable, try_again
from orchestrator.progress import Meter, Progress
from workers.backbones.store import has_backbone
from workers.errors import (
    NoStorageError,
    PoetsError,
    RunError,
    ShardError,
    StorageError,
    StorageGoneError,
    TooManyFailedError,
)
from workers.items import TRAIN, Item
from workers.leases import Keys, check_storage, forget_run, tell_storage
from workers.storage.atomic import create_once, is_outage, write_whole
from workers.storage.plan import Run
from workers.storage.root import storage_id

_log = logging.getLogger("poets.driver")
TICK_S = 0.2
# While nothing happens, the next look comes after a tenth of the time that this has lasted.
_QUIET_SHARE, _LONGEST_TICK_S = 0.1, 1.0
_HELP_AFTER_S = 20.0
_ONCE = "happens once, takes up to a minute"


class WatchInterrupt(KeyboardInterrupt):
    """Ctrl-C while another process drives the run, which continues."""


def drive_run(
    run: Run,
    broker: Broker,
    on_progress: Callable[[Progress], None],
    why_ended: Callable[[], str | None] = lambda: None,
) -> Result:
    """Bring a run to its end and return its result.

    When another process drives the run already, this one waits for the end.

    Args:
        why_ended: Why a broker that does not answer will never do so again; "" if that is not
            known, None if it may.

    Raises:
        PoetsError: When the run failed, was cancelled, or cannot continue now; it has the
            name of the run if that can be resumed.
        WatchInterrupt: At Ctrl-C while another process drives the run.
    """
    lock = DriverLock(broker.client, run.name)
    try:
        with broker.queues.used():
            return _Driver(run, broker, lock, on_progress, why_ended).drive()
    except NoStorageError as error:
        raise _gone(run, "is gone (was it unmounted?)") from error
    except PoetsError as error:
        if isinstance(error, StorageError) or is_outage(error, run.storage.root):
            error.run = run.name
        raise
    except KeyboardInterrupt as interrupt:
        if lock.is_of_another():
            raise WatchInterrupt from interrupt
        raise
    finally:
        lock.give_back()


def _gone(run: Run, what: str) -> StorageGoneError:
    return StorageGoneError(f"The storage {run.storage.root} {what}.", run.name)


@dataclass
class _Driver:
    run: Run
    broker: Broker
    lock: DriverLock
    on_progress: Callable[[Progress], None]
    why_ended: Callable[[], str | None]

    def __post_init__(self) -> None:
        self.folder, self.plan = self.run.folder, self.run.plan
        self.keys = Keys(self.run.name)
        self.root = self.run.storage.root
        self.storage = storage_id(self.root)
        self.memory, self.stored = Memory(), Stored.read(self.run)
        unit = "images and variants" if self.plan.variants else "images"
        self.meter = Meter(self.plan.images + self.plan.variants, unit)
        self.idle_since = self.changed_at = time.monotonic()
        self.waiting, self.sent = "", 0
        self.latest: object = None
        # Whether images that nobody could open had another try, and are few enough.
        self.is_tried_again = self.is_checked = False

    def drive(self) -> Result:
        while True:
            try:
                result = self._step()
            except (redis.RedisError, KombuError) as error:
                reason = self.why_ended()
                if reason is not None:
                    raise self._deserted(reason) from error
                is_refusal = isinstance(error, redis.ResponseError)
                if is_refusal and self.broker.remove_strangers(self.run.name):
                    continue
                self.waiting = describe_wait(error)
                self._report()
                time.sleep(2)
                continue
            except OSError as error:
                raise _gone(self.run, f"says: {error}") from error
            self.waiting = ""
            if result is not None:
                return result
            time.sleep(self._tick_s())

    def _tick_s(self) -> float:
        quiet_s = time.monotonic() - self.changed_at
        return min(max(TICK_S, _QUIET_SHARE * quiet_s), _LONGEST_TICK_S)

    def _step(self) -> Result | None:
        # An unmounted folder looks like one without any work done.
        if not self.folder.plan.exists():
            raise _gone(self.run, f"has no run {self.run.name!r} any more (was it unmounted?)")
        if storage_id(self.root) != self.storage:
            raise _gone(self.run, "is another one than before")
        if self.folder.result.exists():
            return read_result(self.run)
        if self.folder.paused.exists():
            raise self._stopped("was stopped.")
        if not self.lock.take():
            self._follow()
            return None
        self.sent = self.broker.count_sent(self.run.name, self.sent)
        self._take_reports()
        seen = self._see()
        actions, self.memory = reconcile(self.plan.kind, self.plan.batches, seen, self.memory)
        latest = (len(seen.done), seen.alive, seen.leased, seen.failed_attempts, actions)
        if latest != self.latest:
            self.latest, self.changed_at = latest, time.monotonic()
        reason = next(iter(seen.failed_attempts.values()), "")
        problem = reason and f"a task failed and is tried again: {reason}"
        self._report(problem=problem, is_unattended=self._is_unattended(seen))
        is_over = any(action.kind == "finish" or action.item == TRAIN for action in actions)
        if is_over and not self.is_checked and not (self.plan.training and seen.has_model):
            self._check_unreachable()
            return None
        return self._act(actions)

    def _check_unreachable(self) -> None:
        """Once all batches are done: a mount may be back, or too much may be lost."""
        if not self.is_tried_again:
            self.is_tried_again = True
            if again := try_again(self.run):
                self.stored, self.memory = Stored.read(self.run), Memory()
                _log.info("batches %s are tried again", sorted(again))
                return
        try:
            check_unreachable(self.run)
        except TooManyFailedError as error:
            self._fail(str(error))
            what = f"Run {self.run.name!r} failed: {error}"
            raise TooManyFailedError(what, self.run.name) from error
        self.is_checked = True

    def _fail(self, reason: str, item: str = "") -> None:
        self._forget_attempts()
        create_once(self.folder.failure, json.dumps({"item": item, "reason": reason}).encode())

    def _follow(self) -> None:
        """Watch while another process drives the run."""
        failure = read_failure(self.folder)
        if self.folder.cancelled.exists():
            raise RunError(f"Run {self.run.name!r} was cancelled.")
        if failure is not None:
            raise RunError(f"Run {self.run.name!r} failed: {failure}")
        check_storage(self.broker.client, self.run.name, self.storage, self.root)
        self.stored.read_again()
        self._report(note="driven by another process")
        time.sleep(1)

    def _act(self, actions: list[Action]) -> Result | None:
        to_send = [action.item for action in actions if action.kind == "send" and action.item]
        if to_send:
            tell_storage(self.broker.client, self.run.name, self.storage)
        self.broker.send(self.run.name, to_send, self.plan.kind)
        for action in actions:
            batch = action.item.batch if action.item else None
            if action.kind == "quarantine" and batch is not None:
                self.stored.give_up(batch, action.reason)
            elif action.kind == "finish":
                return self._finish()
            elif action.kind == "stop":
                raise RunError(f"Run {self.run.name!r} was cancelled.")
            elif action.kind == "fail":
                self._fail(action.reason, action.item.key if action.item else "")
                raise RunError(f"Run {self.run.name!r} failed: {action.reason}")
            elif action.kind == "pause":
                self._forget_attempts()
                reason = action.reason
                with contextlib.suppress(StorageError):
                    if lost := find_unreachable(self.run):
                        reason = f"{reason} In all: {lost.describe()}"
                self._keep_reason(reason)
                raise self._stopped(f"cannot continue: {reason}")
        return None

    def _finish(self) -> Result | None:
        try:
            result = finish_run(self.run, self.lock.renew)
        except ShardError:
            self.stored, self.memory = Stored.read(self.run), Memory()
            return None
        except PoetsError as error:
            self._keep_reason(str(error))
            error.run = self.run.name
            raise
        self.folder.trouble.unlink(missing_ok=True)
        forget_run(self.broker.client, self.run.name, self.plan.batches)
        return result

    def _stopped(self, what: str) -> RunError:
        return RunError(f"Run {self.run.name!r} {what}", self.run.name)

    def _deserted(self, reason: str) -> RunError:
        what = f"The embedded stack has stopped under run {self.run.name!r}"
        if reason:
            self._keep_reason(reason)
        return RunError(f"{what}: {reason}" if reason else f"{what}.", self.run.name)

    def _keep_reason(self, reason: str) -> None:
        """Leave the reason in storage: a detached run has nobody to tell it to."""
        # The storage may be what failed.
        with contextlib.suppress(StorageError):
            write_whole(self.folder.trouble, reason.encode())

    def _see(self) -> Seen:
        traffic = self.broker.queues.look()
        rivals = traffic.rivals(self.run.name)
        if self.latest is None:
            # Runs that a coordinator takes up at the same moment all find the queues empty.
            rivals = max(rivals, self.broker.queues.users - 1)
        queued = traffic.of(self.run.name)
        leased = self.broker.leased(self.run.name, list(self.memory.last_alive))
        failed_attempts = self.broker.read_hash(self.keys.failed_attempts)
        if TRAIN in failed_attempts and TRAIN not in leased:
            self._read_again_after_training(failed_attempts)
        return Seen(
            done=self.stored.done,
            has_backbone=has_backbone(self.run.storage, self.plan.backbone_id),
            has_model=self.folder.model.exists(),
            alive=queued | leased,
            leased=len(leased),
            starts=self.broker.read_counts(self.keys.starts),
            failed_attempts=failed_attempts,
            now=time.monotonic(),
            is_cancelled=self.folder.cancelled.exists(),
            failure=read_failure(self.folder),
            busy=traffic.under_way,
            rivals=rivals,
        )

    def _read_again_after_training(self, failed_attempts: dict[Item, str]) -> None:
        """A trainer that found damaged shards has marked their batches to be done again."""
        if self.folder.redo.exists() and any(self.folder.redo.iterdir()):
            self.stored = Stored.read(self.run)
            self.memory = Memory()
            self.broker.client.hdel(self.keys.failed_attempts, TRAIN.key)
            failed_attempts.pop(TRAIN, None)

    def _take_reports(self) -> None:
        """Take reports of finished batches, and believe them when storage agrees."""
        reports = self.broker.client.lpop(self.keys.done, 1000) or []
        before = len(self.stored.done)
        for report in reports:
            try:
                batch, failed = msgspec.json.decode(str(report), type=tuple[int, int])
            except (ValueError, RecursionError):
                _log.warning("Warning: %r holds what is no report; skipped.", self.keys.done)
                continue
            # An earlier run of this name may have left reports.
            is_new = 0 <= batch < self.plan.batches and batch not in self.stored.done
            if is_new and self.stored.has(batch):
                self.stored.done.add(batch)
                self.stored.failed += min(max(failed, 0), self.stored.sizes[batch])
        if len(self.stored.done) > before:
            self.folder.trouble.unlink(missing_ok=True)

    def _forget_attempts(self) -> None:
        # So that a resumed run starts counting again.
        self.broker.client.delete(self.keys.failed_attempts, self.keys.starts)

    def _is_unattended(self, seen: Seen) -> bool:
        """Whether no worker has taken any work for a while."""
        now = time.monotonic()
        if seen.leased or not seen.alive or seen.failed_attempts:
            self.idle_since = now
        return now - self.idle_since > _HELP_AFTER_S

    def _report(self, note: str = "", problem: str = "", is_unattended: bool = False) -> None:
        batches_left = self.plan.batches - len(self.stored.done)
        done, failed = self.stored.rows_done, self.stored.failed
        if not has_backbone(self.run.storage, self.plan.backbone_id):
            progress = Progress("preparing the backbone", note=note or _ONCE)
        elif batches_left:
            phase = "computing bottlenecks" if self.plan.kind == "train" else "labelling"
            progress = replace(self.meter.measure(phase, done, failed), note=note)
        else:
            phase = "training" if self.plan.kind == "train" else "writing labels"
            progress = replace(self.meter.measure(phase, done, failed), note=note)
        problem = self.waiting or problem
        self.on_progress(replace(progress, problem=problem, is_unattended=is_unattended))
