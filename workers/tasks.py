"""The Celery tasks: thin shells; a message is (run, batch) and nothing else."""

from celery import shared_task

from workers.backbones.convert import convert_backbone as convert
from workers.labelling import write_batch_predictions
from workers.storage.manifest import read_batch
from workers.task_frame import is_wanted, working_on
from workers.training import train_run


@shared_task(name="poets.compute_batch")
def compute_batch(run: str, batch: int) -> None:
    """Bring the bottlenecks of one batch into storage."""
    if is_wanted(run):
        with working_on(run, str(batch)) as work:
            work.complete(read_batch(work.folder, batch))


@shared_task(name="poets.label_batch")
def label_batch(run: str, batch: int) -> None:
    """Bring the predictions of one batch, and its bottlenecks, into storage."""
    if is_wanted(run):
        with working_on(run, str(batch)) as work:
            options = work.plan.labelling
            if options and not work.folder.prediction_shard(batch).exists():
                planned = read_batch(work.folder, batch)
                results = work.complete(planned)
                write_batch_predictions(work.folder, options, planned, results)


# Acknowledged early: the reconciler sends another when this one dies.
@shared_task(name="poets.train_head", acks_late=False)
def train_head(run: str) -> None:
    """Fit, evaluate and commit the model of a run."""
    if is_wanted(run):
        with working_on(run, "train") as work:
            train_run(work.storage, work.folder, work.plan, work.lease.heartbeat, work.lease.check)


@shared_task(name="poets.convert_backbone", acks_late=False)
def convert_backbone(run: str) -> None:
    """Bring the backbone of a run into storage, converted for LiteRT."""
    if is_wanted(run):
        with working_on(run, "convert") as work:
            convert(work.storage, work.plan, work.lease.heartbeat)
