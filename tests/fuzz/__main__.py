"""Fuzz the readers, guided by coverage: ``python -m tests.fuzz SECONDS [TARGET ...]``.

Every target runs in a process of its own, two at a time. A find is left in the current
folder as ``TARGET-crash-...``, ``TARGET-timeout-...`` or ``TARGET-oom-...``, and the exit
code is 1.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.fuzz.targets import TARGETS


def main() -> None:
    seconds, names = sys.argv[1], sys.argv[2:] or list(TARGETS)
    with ThreadPoolExecutor(2) as pool:
        found = [
            name for name, is_clean in pool.map(lambda n: _fuzz(n, seconds), names) if not is_clean
        ]
    if found:
        sys.exit(f"Found something in: {', '.join(found)}")


def _fuzz(name: str, seconds: str) -> tuple[str, bool]:
    command = [sys.executable, "-m", "tests.fuzz.campaign", name, seconds]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    facts = dict(
        line[len("stat::") :].split(":", 1)
        for line in ended.stdout.splitlines()
        if line.startswith("stat::")
    )
    runs, memory = (facts.get(n, "?").strip() for n in ("number_of_executed_units", "peak_rss_mb"))
    print(f"{name}: {runs} inputs, {memory} MB at most, exit code {ended.returncode}", flush=True)
    if ended.returncode:
        print(ended.stdout[-4000:], flush=True)
    return name, ended.returncode == 0


if __name__ == "__main__":
    main()
