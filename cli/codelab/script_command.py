"""Command lines as the codelab's scripts take them: abbreviated flags, and flags with a boolean."""

from collections import deque
from collections.abc import Collection, Iterator
from typing import Any

import click

from cli.help_pages import Command

# Flags of the later retrain.py, of TensorFlow Hub, that have no counterpart: what does it here.
_LATER_FLAGS = {
    "--saved-model-dir": "`poets export RUN --format saved-model` writes a SavedModel.",
    "--checkpoint-path": "An interrupted run resumes by itself: `poets resume RUN`.",
    "--logging-verbosity": "--quiet prints the result only, --debug the traceback of an error.",
}


class ScriptCommand(Command):
    """A command with the flags of a script that argparse reads.

    "_" and "-" are the same in a flag. A flag may be abbreviated as long as only one begins so;
    those of the script come before those that poets adds. A boolean flag is `--flag`, `--noflag`
    or `--flag=True`, as different versions of the scripts write it.

    Args:
        script_flags: The flags of the script, without dashes; None when all are.
    """

    def __init__(
        self, *args: Any, script_flags: Collection[str] | None = None, **attributes: Any
    ) -> None:
        super().__init__(*args, **attributes)
        self._script_flags = {_spell(f"--{name}") for name in script_flags or ()}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(self._spell_out(ctx, args)))

    def _spell_out(self, ctx: click.Context, args: list[str]) -> Iterator[str]:
        """Yield the arguments with every flag in full, spelled as click knows it."""
        options = {
            name: option
            for option in self.get_params(ctx)
            if isinstance(option, click.Option)
            for name in (*option.opts, *option.secondary_opts)
            if name.startswith("--")
        }
        words = deque(args)
        while words:
            word = words.popleft()
            if word == "--":
                yield word
                yield from words
                return
            if not word.startswith("--"):
                yield word
                continue
            given, equals, value = word.partition("=")
            name = self._find(ctx, _spell(given), options)
            option = options.get(name)
            if option is None:
                yield word
            elif option.secondary_opts:
                if not equals and words and words[0].lower() in ("true", "false"):
                    value = words.popleft()
                is_on = click.BOOL.convert(value or "true", option, ctx)
                is_named = name in option.opts
                yield (option.opts if is_on == is_named else option.secondary_opts)[0]
            else:
                yield name + equals + value
                if not equals and words and not option.is_flag:
                    yield words.popleft()

    def _find(self, ctx: click.Context, given: str, options: Collection[str]) -> str:
        """Return the one flag that is meant; what none begins with stays, for click to refuse."""
        if given in options:
            return given
        if given in _LATER_FLAGS:
            ctx.fail(f"There is no {given} here. {_LATER_FLAGS[given]}")
        near = [name for name in options if name.startswith(given)]
        own = [name for name in near if name in self._script_flags]
        found = own or near
        if len(found) > 1:
            ctx.fail(f"{given} is ambiguous. It could be {', '.join(sorted(found))}.")
        return found[0] if found else given


def _spell(flag: str) -> str:
    return flag.replace("_", "-")
