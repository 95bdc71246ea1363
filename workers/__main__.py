"""Start a worker: ``python -m workers --queues bottleneck,infer --concurrency 2``."""

import argparse
import os

from workers.app import QUEUES, app


def run_worker(queues: str, concurrency: int, name: str | None, log_level: str) -> None:
    """Run a Celery worker in this process until it is told to stop.

    Args:
        queues: Names from QUEUES, separated by commas.
        concurrency: Child processes; one a core on a CPU, one on a GPU.
    """
    # SIGTERM: finish what is under way for at most worker_soft_shutdown_timeout, then
    # hand the rest back. Plain SIGTERM waits without limit.
    os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")
    arguments = ["worker", "--queues", queues, "--concurrency", str(concurrency)]
    arguments += ["--loglevel", log_level, "--without-mingle", "--without-gossip"]
    if name:
        arguments += ["--hostname", f"{name}@%h"]
    app.worker_main(arguments)


def main() -> None:
    """Parse the command line of the embedded stack."""
    parser = argparse.ArgumentParser(prog="python -m workers")
    parser.add_argument("--queues", default=",".join(QUEUES))
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--name")
    parser.add_argument("--log-level", default="WARNING")
    options = parser.parse_args()
    run_worker(options.queues, options.concurrency, options.name, options.log_level)


if __name__ == "__main__":
    main()
