"""How `--help` looks: many options are in groups, and headings have weight."""

import sys
from collections.abc import Callable
from typing import Any

import click

from cli.styles import has_colour, render, strong

# An option that no group names is in the first, which has no title of its own.
_GROUPS = {
    "Options": (),
    "Labels and splits": (
        "multi_label", "label_file", "labels_file", "splits", "follows_links",
        "testing_percentage", "validation_percentage", "seed",
    ),
    "Network": ("architecture", "tfhub_module", "weights", "weights_dir", "model_dir"),
    "Solver": (
        "solver", "class_weight", "steps", "how_many_training_steps", "learning_rate",
        "train_batch_size", "eval_step_interval", "validation_batch_size", "store_interval",
    ),
    "Evaluation": (
        "target_precision", "least_accuracy", "test_batch_size",
        "print_misclassified_test_images",
    ),
    "Distortions": (
        "flip_left_right", "random_crop", "random_scale", "random_brightness", "variants",
    ),
    "Output": (
        "output", "force", "file_format", "excel", "top_k", "output_graph", "output_labels",
        "intermediate_output_graphs_dir", "intermediate_store_frequency", "summaries_dir",
        "final_tensor_name", "as_json", "quiet",
    ),
    "Where": ("storage", "broker_url", "bottleneck_dir", "batch_size", "detach"),
}  # fmt: skip
_GROUP_OF = {name: title for title, names in _GROUPS.items() for name in names}
# Fewer are read faster without headings.
_MOST_IN_ONE = 12


class _Formatter(click.HelpFormatter):
    def write_heading(self, heading: str) -> None:
        super().write_heading(render(strong(heading), None, has_colour(sys.stdout)))


class Context(click.Context):
    """The context of every command of poets."""

    formatter_class = _Formatter


class Command(click.Command):
    """A command whose options are in groups when there are many."""

    context_class = Context

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {title: [] for title in _GROUPS}
        params = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        is_grouped = len(params) > _MOST_IN_ONE
        for param in params:
            title = _GROUP_OF.get(param.name or "", "Options") if is_grouped else "Options"
            if (record := param.get_help_record(ctx)) is not None:
                groups[title].append(record)
        # In a narrow terminal the text goes below its option, where it has room.
        wide, narrow = 32, 12
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records, col_max=wide if formatter.width > 70 else narrow)


def command(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Return the decorator that makes a function a `Command`."""
    return click.command(name, **({"cls": Command} | attributes))
