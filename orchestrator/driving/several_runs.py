"""Drive several runs to their ends at once, and show them as one piece of work."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

from orchestrator.driving.broker import open_broker
from orchestrator.driving.driver import TICK_S, drive_run
from orchestrator.driving.result import Result
from orchestrator.embedded.users import has_stopped
from orchestrator.progress import OnProgress, Progress
from workers.errors import PoetsError
from workers.settings import Settings
from workers.storage.plan import Run

# Runs at once; each asks the broker five times a second.
_AT_ONCE = 16


@dataclass
class Driving:
    """What it takes to bring runs to their ends.

    Attributes:
        connected: Settings with a broker.
        settings: As the user gave them.
        total: Number of runs in all calls.
    """

    connected: Settings
    settings: Settings
    on_progress: OnProgress
    total: int
    _done: int = field(default=0, init=False)
    _latest: dict[str, Progress] = field(default_factory=dict, init=False)

    def drive(self, runs: Sequence[Run]) -> list[Result | PoetsError]:
        """Return the result of each run, or why it has none; one does not end the others.

        Ctrl-C stops all of them.
        """
        self._latest = {}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            futures = [pool.submit(self._drive_one, run) for run in runs]
            try:
                while wait(futures, TICK_S).not_done:
                    self._report(futures)
            except KeyboardInterrupt:
                # Each driver checks for it, so none continues behind the user's back.
                for run in runs:
                    run.folder.paused.touch()
                pool.shutdown(cancel_futures=True)
                raise
        self._done += len(runs)
        return [future.result() for future in futures]

    def _drive_one(self, run: Run) -> Result | PoetsError:
        def on_progress(progress: Progress) -> None:
            self._latest[run.name] = progress

        broker = open_broker(self.connected)
        try:
            return drive_run(run, broker, on_progress, has_ended=lambda: has_stopped(self.settings))
        except PoetsError as error:
            return error

    def _report(self, futures: list["Future[Result | PoetsError]"]) -> None:
        done = self._done + sum(future.done() for future in futures)
        count = f"{done} of {self.total} heads"
        for progress in list(self._latest.values()):
            if progress.done < progress.total:
                # An unattended run gets its note from the command.
                note = progress.note or ("" if progress.is_unattended else count)
                self.on_progress(replace(progress, note=note))
                return
        self.on_progress(Progress("training", min(done, self.total), self.total, unit="heads"))
