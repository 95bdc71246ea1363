"""``poets up``, ``down``, ``status``, ``worker`` and ``coordinator``: the processes of poets."""

from typing import Any

import click

from cli import options
from cli.attend import say_detached
from cli.console import Session, echo, print_json, say
from cli.styles import Styled, busy, good, warning
from workers.settings import DEVICES, QUEUES, Settings, poets_version


@options.command("up")
@options.with_session()
def up(session: Session) -> None:
    """Start Valkey, a worker and a coordinator in the background.

    They run until `poets down`. Other commands start such a stack when they need one; keeping
    it up saves each of them a second or two, and lets detached runs continue.

    \b
    Example:
      poets up
    """
    from dataclasses import asdict

    from orchestrator.embedded.users import keep_stack
    from workers.errors import SettingsError
    from workers.storage.making import make_storage

    if session.settings.broker_url is not None:
        raise SettingsError(
            "A broker is configured (POETS_BROKER_URL, --broker-url or poets.toml), so there is "
            "nothing to start here. Start `poets worker` and `poets coordinator` instead."
        )
    make_storage(session.settings.storage)
    stack = keep_stack(session.settings)
    running = stack.running()
    facts = asdict(running) if running else {}
    if session.as_json:
        print_json({"broker_url": stack.broker_url, "log": str(stack.log), **facts})
    else:
        workers = f"{facts.get('concurrency')} worker processes"
        start = f"; {workers} are starting." if stack.starting_services() else f" with {workers}."
        session.say(["The stack is ", good("up"), start])
        session.say(f"  broker  {stack.broker_url}", f"  log     {stack.log}")
        session.say(f"`poets down{session.flags}` stops it.")
        say_detached(session)


@options.command("down")
@options.with_session()
def down(session: Session) -> None:
    """Stop what `poets up` started.

    Runs in progress can be resumed.

    \b
    Example:
      poets down
    """
    from orchestrator.embedded.users import stop_stack

    was_up = stop_stack(session.settings)
    if session.as_json:
        print_json({"was_up": was_up})
    else:
        session.say("The stack is down." if was_up else "There was no stack to stop.")


@options.command("status")
@options.with_session(may_be_quiet=False)
def status(session: Session) -> None:
    """Show the broker, the queues and the workers.

    \b
    Example:
      poets status
    """
    from orchestrator.health import describe_services

    facts = describe_services(session.settings)
    if session.as_json:
        print_json(facts)
        return
    if facts["broker"] is None:
        echo(f"No broker is up. Commands start their own; `poets up{session.flags}` keeps one up.")
        return
    queues = ", ".join(f"{name} {length}" for name, length in facts["queues"].items())
    echo(["broker       ", good("up"), f", {facts['broker']}"], f"queues       {queues}")
    _echo_workers(facts)
    coordinator = good("up") if facts["coordinator"] else _missing(facts, "coordinator")
    echo(["coordinator  ", coordinator])
    running = [busy(name) for name in facts["running"]]
    echo(["running      ", *(_listed(running) or ["nothing"])])


def _echo_workers(facts: dict[str, Any]) -> None:
    states = facts["worker_states"]
    are_mixed = len({poets_version(), *(state["poets"] for state in states.values())}) > 1
    workers = [
        good(f"{name} (poets {states[name]['poets']})" if are_mixed else name) for name in states
    ]
    echo(["workers      ", *(_listed(workers) or [_missing(facts, "workers")])])
    if are_mixed:
        text = f"This is poets {poets_version()}: install the same everywhere."
        echo(["             ", warning(text)])
    for name, state in states.items():
        if state["rests"]:
            text = f"{name} rests after failed attempts: {state['rests']}"
            echo(["             ", warning(text)])
    for name, reason in facts["waiting_workers"].items():
        echo(["             ", warning(f"{name} waits: {reason}")])


def _listed(names: list[Styled]) -> list[str | Styled]:
    return [part for name in names for part in (", ", name)][1:]


def _missing(facts: dict[str, Any], name: str) -> Styled:
    return busy("starting") if name in facts["starting"] else warning("none")


@options.command("coordinator")
@click.option(
    "--check",
    is_flag=True,
    help="Only say whether one is up: exit code 0 if so, 1 if not. For health checks.",
)
@options.with_settings
def coordinator(settings: Settings, check: bool) -> None:
    """Keep detached runs going.

    Runs until Ctrl-C. You may start several; one of them drives each run.

    \b
    Examples:
      poets coordinator --broker-url rediss://:secret@broker.example:6379/0
      poets coordinator --check
    """
    if check:
        _check_coordinator(settings)
        return
    import logging
    import threading

    from orchestrator.driving.coordinator import coordinate

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = _join_broker(settings)
    say("Coordinating; Ctrl-C stops.")
    coordinate(settings, threading.Event())


def _check_coordinator(settings: Settings) -> None:
    from orchestrator.driving.who_drives import has_coordinator

    is_up = has_coordinator(settings)
    echo("A coordinator is up." if is_up else "No coordinator is up.")
    if not is_up:
        raise click.exceptions.Exit(1)


def _join_broker(settings: Settings) -> Settings:
    """Return the settings with a broker that answers: the one configured, or the stack's."""
    from orchestrator.driving.broker import open_broker
    from orchestrator.embedded.users import attach_broker

    settings = attach_broker(settings) or settings
    open_broker(settings)
    return settings


@options.command("worker")
@click.option(
    "--queues",
    default=",".join(QUEUES),
    show_default=True,
    help="Kinds of work to take: any of bottleneck, train, infer.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    metavar="N",
    help="Number of processes. [as many as cores and memory allow; one on a GPU]",
)
@click.option("--name", help="Name of the worker in Flower. [celery]")
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    default="INFO",
    show_default=True,
    help="How much to log.",
)
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    help="Where to compute; auto takes the GPU if a driver is loaded. [auto]",
)
@options.with_settings
def worker(
    settings: Settings, queues: str, concurrency: int | None, name: str | None, log_level: str
) -> None:
    """Run a worker on this machine.

    Runs until Ctrl-C or SIGTERM. Other workers redo what it leaves unfinished.

    \b
    Examples:
      poets worker --broker-url rediss://:secret@broker.example:6379/0
      poets worker --queues infer --concurrency 4
    """
    import os

    from workers.__main__ import run_worker
    from workers.processes.capacity import default_concurrency

    unknown = set(queues.split(",")) - set(QUEUES)
    if unknown:
        raise click.UsageError(f"Unknown queue {min(unknown)!r}. Choose from {', '.join(QUEUES)}.")
    settings = _join_broker(settings)
    # Celery imports from the current folder, which could be anybody's, and may be removed.
    os.chdir("/")
    if concurrency is None:
        chosen = default_concurrency(settings.device)
        say(f"Processes: {chosen} (--concurrency overrides this).")
        concurrency = chosen.value
    run_worker(settings, queues, concurrency, name, log_level)
