"""The Celery tasks: thin shells; a message of work is (run, batch) and nothing else."""

import time

from celery import current_task, shared_task

from workers.backbones.convert import convert_backbone as convert
from workers.items import (
    COMPUTE_BATCH,
    CONVERT,
    CONVERT_BACKBONE,
    LABEL_BATCH,
    PROBE,
    TRAIN,
    TRAIN_HEAD,
    Item,
)
from workers.labelling import write_batch_predictions
from workers.leases import connect
from workers.probing import answer_probe
from workers.settings import load_settings
from workers.storage.manifest import read_batch
from workers.task_frame import is_wanted, working_on
from workers.training import train_run


@shared_task(name=COMPUTE_BATCH)
def compute_batch(run: str, batch: int) -> None:
    """Bring the bottlenecks of one batch into storage."""
    if is_wanted(run):
        with working_on(run, Item.parse(str(batch))) as work:
            work.complete(read_batch(work.run.folder, batch))


@shared_task(name=LABEL_BATCH)
def label_batch(run: str, batch: int) -> None:
    """Bring the predictions of one batch, and its bottlenecks, into storage."""
    if is_wanted(run):
        with working_on(run, Item.parse(str(batch))) as work:
            folder, is_job = work.run.folder, work.run.plan.labelling is not None
            if is_job and not folder.prediction_shard(batch).exists():
                planned = read_batch(folder, batch)
                write_batch_predictions(work.run, planned, work.complete(planned))


# Acknowledged early: the reconciler sends another when this one dies.
@shared_task(name=TRAIN_HEAD, acks_late=False)
def train_head(run: str) -> None:
    """Fit, evaluate and commit the model of a run."""
    if is_wanted(run):
        with working_on(run, TRAIN) as work:
            train_run(work.run, work.lease.heartbeat, work.lease.check)


@shared_task(name=CONVERT_BACKBONE, acks_late=False)
def convert_backbone(run: str) -> None:
    """Bring the backbone of a run into storage, converted for LiteRT."""
    if is_wanted(run):
        with working_on(run, CONVERT) as work:
            convert(work.run.storage, work.run.plan.backbone, work.lease.heartbeat)


# So that the next probe goes to another worker.
_PAUSE_S = 0.3


@shared_task(name=PROBE, acks_late=False)
def probe(token: str, folder: str) -> None:
    """Say what this worker sees."""
    settings, queue = load_settings(), current_task.request.delivery_info["routing_key"]
    answer_probe(connect(settings.require_broker()), settings, token, folder, queue)
    time.sleep(_PAUSE_S)
