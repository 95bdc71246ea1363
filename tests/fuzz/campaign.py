"""Fuzz one target in this process: ``python -m tests.fuzz.campaign TARGET SECONDS``."""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["workers", "orchestrator", "PIL", "zipfile"]):
    from tests.fuzz.targets import TARGETS

_MEMORY_MB, _HANG_S, _LARGEST_BYTES = 2048, 20, 128 * 1024


def main() -> None:
    name, seconds = sys.argv[1:]
    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="poets-corpus-") as corpus:
        for number, seed in enumerate(target.seeds()):
            (Path(corpus) / f"seed-{number}").write_bytes(seed)
        limits = {
            "max_total_time": seconds,
            "timeout": _HANG_S,
            "rss_limit_mb": _MEMORY_MB,
            "max_len": _LARGEST_BYTES,
            "artifact_prefix": f"{name}-",
            "print_final_stats": 1,
            "verbosity": 0,
        }
        words = [f"-{option}={value}" for option, value in limits.items()]
        atheris.Setup([sys.argv[0], corpus, *words], target.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
