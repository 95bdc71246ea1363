"""Where the time of each image goes on this machine, and what many like them would take."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.benchmark.batch_costs import scratch_storage, time_queue, time_shards
from orchestrator.benchmark.timed_processes import make_timer, time_alone, time_together
from orchestrator.dataset.scan import Sample, draw_sample
from orchestrator.planning.batches import choose_batch_size
from orchestrator.planning.weights import resolve_backbone
from orchestrator.progress import OnProgress, Progress
from workers.backbones.convert import convert_backbone
from workers.backbones.table import find_spec
from workers.bottlenecks import timing
from workers.bottlenecks.requests import Request
from workers.bottlenecks.timing import Timing
from workers.errors import BrokerError, DatasetError
from workers.processes.capacity import default_concurrency
from workers.settings import Settings
from workers.storage.layout import Storage
from workers.storage.making import make_storage
from workers.storage.names import decode_name

# In the order of the work.
STAGES = (*timing.STAGES[:-1], "write", "queue", "other")
_SAMPLE = 400
_SCAN_S, _ALONE_S, _TOGETHER_S = 5.0, 4.0, 4.0


@dataclass(frozen=True)
class BenchRequest:
    """What `poets bench` was asked for.

    Attributes:
        weights: A file, "random-SEED", or None to look for pretrained ones.
        images: The number to forecast for.
        machines: Number of machines like this one in the second half of the forecast.
    """

    folder: Path
    architecture: str
    weights: str | None = None
    images: int = 1_000_000
    machines: int = 4


@dataclass(frozen=True)
class Profile:
    """What was measured: seconds per image by stage, unreadable images included.

    Attributes:
        sample: Images that were tried.
        reasons: Why some of them could not be read, with their number.
        alone, together: Of one process, and of `processes` at once.
        batch_size: Images per task when as many images are submitted as the forecast is for.
        queue_error: Why the queue could not be measured; then its stage is 0.
    """

    request: BenchRequest
    found: Sample
    sample: int
    reasons: dict[str, int]
    processes: int
    batch_size: int
    alone: dict[str, float]
    together: dict[str, float]
    queue_error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what `poets bench --json` prints: times in us an image, or in s."""
        whole_s = sum(self.together.values())
        rate = self.processes / whole_s
        forecast_s = self.request.images / rate
        return {
            "folder": self.found.root,
            "images": self.found.found,
            "is_whole_folder": self.found.is_whole,
            "mean_bytes": round(self.found.mean_bytes),
            "sample": self.sample,
            "unreadable": sum(self.reasons.values()),
            "reasons": self.reasons,
            "architecture": find_spec(self.request.architecture).name,
            "processes": self.processes,
            "batch_size": self.batch_size,
            "stages": [
                {
                    "stage": stage,
                    "one_process_us": round(self.alone[stage] * 1e6, 1),
                    "all_processes_us": round(self.together[stage] * 1e6, 1),
                    "share": self.together[stage] / whole_s,
                }
                for stage in STAGES
            ],
            "queue_error": self.queue_error,
            "images_per_second": {
                "one_process": round(1 / sum(self.alone.values()), 1),
                "all_processes": round(rate, 1),
            },
            "forecast": {
                "images": self.request.images,
                "seconds": round(forecast_s, 3),
                "machines": self.request.machines,
                "seconds_with_machines": round(forecast_s / self.request.machines, 3),
            },
        }


def measure(settings: Settings, request: BenchRequest, on_progress: OnProgress) -> Profile:
    """Measure a sample of the images of a folder; leaves nothing but the backbone in storage.

    Raises:
        DatasetError: When there is no image, or none of the sample can be read.
        PoetsError: When the backbone cannot be had, or the storage refuses.
    """
    spec = find_spec(request.architecture)
    found = draw_sample(request.folder, _SAMPLE, _SCAN_S, on_progress)
    make_storage(settings.storage)
    key = resolve_backbone(settings, request.architecture, request.weights, on_progress)
    # Converted as for a run; later runs use it too.
    preparing = Progress("preparing the backbone")
    convert_backbone(Storage(settings.storage), key, lambda: on_progress(preparing))

    root = decode_name(found.root)
    images = [
        Request(f"{root}/{decode_name(image.path)}", (image.size, image.version))
        for image in found.images
    ]
    alone = time_alone(
        make_timer(settings, key),
        images,
        _ALONE_S,
        lambda n: on_progress(Progress("timing one process", n, len(images))),
    )
    reasons = alone.deadly + Counter(alone.timing.reasons)
    # An image that ends its process costs some others their measurement.
    if alone.timing.images <= sum(alone.timing.reasons.values()):
        raise DatasetError(
            f"No image can be measured, of {alone.tried} that were tried: {next(iter(reasons))}. "
            "Give a folder of photographs."
        )
    # As many as a run here would have.
    processes = default_concurrency(settings.device).value
    on_progress(Progress(f"timing {processes} at once" if processes > 1 else "timing it again"))
    timers = [make_timer(settings, key) for _ in range(processes)]
    together = time_together(timers, alone.images, _TOGETHER_S)

    batch_size = choose_batch_size(request.images)
    on_progress(Progress("timing storage and queue"))
    costs, queue_error = _batch_costs(settings, found, batch_size, spec.bottleneck_size)
    by_one = _by_image(alone.timing, costs)
    # The files were read before, so they come from memory now; a million would not.
    by_all = _by_image(together, costs, least_read_s=by_one["read"])
    return Profile(
        request,
        found,
        alone.tried,
        dict(reasons.most_common()),
        processes,
        batch_size,
        by_one,
        by_all,
        queue_error,
    )


def _batch_costs(
    settings: Settings, found: Sample, batch_size: int, bottleneck_size: int
) -> tuple[dict[str, float], str | None]:
    """Return the seconds an image that its batch costs, and why the queue could not be timed."""
    uris = [f"{found.root}/{image.path}" for image in found.images]
    with scratch_storage(settings) as scratch:
        write_s = time_shards(scratch, uris, batch_size, bottleneck_size)
        queue_s, queue_error = 0.0, None
        try:
            queue_s = time_queue(scratch)
        except BrokerError as error:
            queue_error = str(error)
    return {"write": write_s / batch_size, "queue": queue_s / batch_size}, queue_error


def _by_image(timing: Timing, costs: dict[str, float], least_read_s: float = 0) -> dict[str, float]:
    """Return the seconds of each stage for the mean image."""
    seconds = {stage: total / timing.images for stage, total in timing.seconds.items()} | costs
    seconds["read"] = max(seconds["read"], least_read_s)
    return {stage: seconds[stage] for stage in STAGES}
