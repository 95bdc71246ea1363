"""poets beside what a user would take instead: `make bench` and `make bench-quick`.

    python -m tests.benchmarks.compare [--quick] [--images DIR] [--page docs/performance.md]

Rounds, in each of which everybody runs once, one after the other, as a program of its own:
so whatever else the machine does meets all of them.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.chart import draw_chart
from tests.benchmarks.material import ARCHITECTURE, Material, bring_weights, gather_photographs
from tests.benchmarks.outcomes import Outcome
from tests.benchmarks.page import Facts, make_section, write_section
from tests.builders.paths import ROOT
from workers.processes.capacity import default_concurrency
from workers.settings import load_settings

_TIMEOUT_S = 900
_QUICK_IMAGES, _QUICK_STEPS, _STEPS = 400, 200, 4000


@dataclass(frozen=True)
class Rival:
    """One program.

    Attributes:
        is_quick: Takes so little time that a quick comparison can repeat it.
        trains: Takes a number of steps, in one round only.
    """

    name: str
    module: str
    how: tuple[str, ...] = ()
    is_quick: bool = False
    trains: bool = False
    is_ours: bool = False
    is_floor: bool = False


RIVALS = (
    Rival("LiteRT, forward passes only", "litert_floor", is_quick=True, is_floor=True),
    Rival("poets, bare worker loop", "bare_loop", is_quick=True, is_ours=True),
    Rival("poets submit-dataset", "submission", is_quick=True, is_ours=True),
    Rival("ONNX Runtime, decode of poets", "onnx_runtime", is_quick=True),
    Rival("TensorFlow, folded graph, a process a core", "tf_processes"),
    Rival("tf.data, folded graph", "tf_data", is_quick=True),
    Rival("Ray Data, LiteRT", "ray_data", ("litert",)),
    Rival("Ray Data, Keras", "ray_data", ("keras",)),
    Rival("PyTorch DataLoader", "torch_loader", is_quick=True),
    Rival("Keras predict", "keras_predict", is_quick=True),
    Rival("The codelab's way", "codelab", trains=True),
)
_REFERENCE = "submission"


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="poets-bench-") as scratch:
        material, images = make_material(Path(scratch), options.images, options.count)
        steps = _QUICK_STEPS if options.quick else _STEPS
        outcomes = run_rounds(material, options.rounds, options.quick, steps)
    reference = outcomes[[rival.module for rival in RIVALS].index(_REFERENCE)]
    facts = _facts(material, images, options)
    chart = options.page.with_name("throughput.svg") if options.page else None
    section = make_section(facts, outcomes, reference, chart.name if chart else "")
    print(section)
    if options.page and chart:
        draw_chart(outcomes, chart)
        write_section(options.page, section)


def _options() -> argparse.Namespace:
    data = os.environ.get("POETS_TEST_DATA")
    flowers = Path(data, "flowers") if data else None
    named = os.environ.get("BENCH_IMAGES")
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compare")
    parser.add_argument("--quick", action="store_true", help="few images, slow starters once")
    parser.add_argument("--rounds", type=int, help="5, or 3 with --quick")
    parser.add_argument(
        "--images",
        type=Path,
        default=named or (flowers if flowers and flowers.is_dir() else None),
        help="folder of LABEL/NAME.jpg [BENCH_IMAGES, or POETS_TEST_DATA/flowers, or drawn]",
    )
    parser.add_argument("--count", type=int, help="photographs to take; repeated if need be")
    parser.add_argument("--page", type=Path, help="page whose section is replaced")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.count = options.count or (_QUICK_IMAGES if options.quick else None)
    return options


def make_material(folder: Path, source: Path | None, count: int | None) -> tuple[Material, int]:
    settings = load_settings()
    weights, backbone_id = bring_weights(replace(settings, storage=folder / "storage"))
    material = Material(str(folder), default_concurrency("cpu").value, weights, backbone_id)
    images = gather_photographs(source, material.photographs, count)
    material.save()
    _say("preparing the network in every format")
    command = [sys.executable, "-m", "tests.benchmarks.prepare", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"The network cannot be prepared: {_last_line(done.stderr)}")
    return material, images


def run_rounds(material: Material, rounds: int, is_quick: bool, steps: int) -> list[Outcome]:
    """Return what everybody did; who fails once does not run again."""
    outcomes = [Outcome(rival.name, rival.is_ours, rival.is_floor) for rival in RIVALS]
    for number in range(rounds):
        for rival, outcome in zip(RIVALS, outcomes, strict=True):
            is_left_out = is_quick and number and not rival.is_quick
            if outcome.reason or is_left_out:
                continue
            how = (*rival.how, str(steps)) if rival.trains and not number else rival.how
            run_rival(rival, how, material, outcome)
            said = outcome.reason or f"{outcome.rates[-1]:.0f} images/s"
            _say(f"round {number + 1} of {rounds}: {rival.name}: {said}")
    return outcomes


def run_rival(rival: Rival, how: tuple[str, ...], material: Material, outcome: Outcome) -> None:
    """Run one program, and add its line to the outcome, or the reason why there is none."""
    module = f"tests.benchmarks.rivals.{rival.module}"
    with (
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+", errors="replace") as messages,
        subprocess.Popen(
            [sys.executable, "-m", module, material.folder, *how],
            cwd=ROOT,
            env=_environment(),
            stdout=out,
            stderr=messages,
        ) as process,
    ):
        # A wait with a timeout would wake up twenty times a second.
        alarm = threading.Timer(_TIMEOUT_S, _kill_tree, (process.pid, outcome))
        alarm.start()
        process.wait()
        alarm.cancel()
        if outcome.reason:
            return
        out.seek(0)
        messages.seek(0)
        printed = [line for line in out if line.startswith('{"images"')]
        if process.returncode == 0 and printed:
            outcome.lines.append(json.loads(printed[-1]))
        else:
            outcome.reason = _last_line(messages.read()) or f"exit code {process.returncode}"


def _kill_tree(pid: int, outcome: Outcome) -> None:
    import psutil  # which poets and its tests do without

    outcome.reason = f"no end after {_TIMEOUT_S} s"
    process = psutil.Process(pid)
    for one in [*process.children(recursive=True), process]:
        one.kill()


def _environment() -> dict[str, str]:
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONWARNINGS": "ignore"}
    # Ray's processes start elsewhere, and import ours.
    return {**os.environ, **quiet, "PYTHONPATH": str(ROOT)}


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("ModuleNotFoundError: ")[:200] if lines else ""


def _facts(material: Material, images: int, options: argparse.Namespace) -> Facts:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    where = f"{material.cores} cores of {_processor()}, {memory:.0f} GiB, {platform.system()}"
    once = ", the slowest once" if options.quick else ""
    weights = "pretrained" if material.keras_weights else "random"
    return Facts(
        images=images,
        source="photographs" if options.images else "drawn pictures",
        network=f"{ARCHITECTURE} with {weights} weights",
        rounds=f"medians of {options.rounds} rounds{once}",
        machine=f"{where}, Python {platform.python_version()}",
        date=datetime.now(UTC).date().isoformat(),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
