"""The Celery application; docs/broker.md gives the reason for every setting."""

import socket

from celery import Celery

from workers.errors import SettingsError
from workers.items import COMPUTE_BATCH, CONVERT_BACKBONE, LABEL_BATCH, PROBE, TRAIN_HEAD
from workers.messages import use_guarded_transport
from workers.settings import QUEUES, Settings, load_settings

_BOTTLENECK, _TRAIN, _INFER = QUEUES
# Remote control of Celery: tell your version and whether you rest; take no work for a while.
TELL_STATE, REST = "poets_state", "poets_rest"
HARD_LIMIT_S, SOFT_LIMIT_S, VISIBILITY_TIMEOUT_S = 1800, 1500, 3600


def make_app(settings: Settings) -> Celery:
    """Return the Celery application for a broker.

    Raises:
        SettingsError: When the limits contradict each other.
    """
    if not SOFT_LIMIT_S < HARD_LIMIT_S < VISIBILITY_TIMEOUT_S:
        raise SettingsError("A task must end before its message becomes visible again.")
    use_guarded_transport()
    app = Celery(
        "poets", broker=settings.broker_url, include=["workers.tasks", "workers.worker_signals"]
    )
    app.conf.update(
        # Results are in storage; no result keys, no subscriptions.
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        # The task of a child that was killed (out of memory, a bad image) is retried a few times.
        task_reject_on_worker_lost=True,
        task_retry_on_worker_lost=True,
        task_annotations={"*": {"max_retries": 3, "default_retry_delay": 5}},
        task_time_limit=HARD_LIMIT_S,
        task_soft_time_limit=SOFT_LIMIT_S,
        task_default_queue=_BOTTLENECK,
        task_routes={
            COMPUTE_BATCH: {"queue": _BOTTLENECK},
            LABEL_BATCH: {"queue": _INFER},
            TRAIN_HEAD: {"queue": _TRAIN},
            CONVERT_BACKBONE: {"queue": _TRAIN},
            # To any queue, by whoever sends it.
            PROBE: {"queue": _BOTTLENECK},
        },
        worker_pool="prefork",
        worker_prefetch_multiplier=1,
        # No worker idles while another has fetched tasks ahead.
        worker_disable_prefetch=True,
        worker_soft_shutdown_timeout=25.0,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_send_task_events=True,
        task_send_sent_event=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "socket_keepalive_options": _give_up_early(),
        },
    )
    return app


def _give_up_early() -> dict[int, int]:
    """TCP options that end a connection after 15 s without an answer.

    Without them a worker whose link was cut for a minute waited another 50 s, until TCP
    retransmitted.
    """
    values = {"TCP_USER_TIMEOUT": 15_000, "TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5}
    return {getattr(socket, name): value for name, value in values.items() if hasattr(socket, name)}


def __getattr__(name: str) -> Celery:
    """Make `app` when the command line of Celery or Flower asks for it (``--app workers.app``)."""
    if name == "app":
        return make_app(load_settings())
    raise AttributeError(name)
