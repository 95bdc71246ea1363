"""The model card of an exported model: what it is, what it is worth, how to load it."""

from importlib.resources import files as resources
from typing import Any

from workers.backbones.table import find_spec
from workers.backbones.weights import seed_of
from workers.bottlenecks.gathering import SPLITS
from workers.exports.formats import FORMATS
from workers.heads.head import SIGMOID, SOFTMAX
from workers.heads.model_folder import ModelCard

# Keras class -> licence of the weights that Keras publishes. What has no row here comes from
# Google (tensorflow/models, tensorflow/tpu, google/automl), which publishes under Apache 2.0.
_LICENCES = {"ResNet50": "MIT (Kaiming He)"}
# What the template says of a head, by its activation.
_WORDS = {
    SOFTMAX: {
        "task": "a probability",
        "head": "softmax regression",
        "origin": "one folder for each label",
        "answer": "`labels[scores.argmax()]` is the answer",
        "stranger": "still gets one of\n  them, often with a high score",
    },
    SIGMOID: {
        "task": "a probability of its own; a photograph may\nhave several of them, or none",
        "head": "a logistic regression for each label",
        "origin": "with a table of labels",
        "answer": (
            "`[label for label, score in zip(labels, scores) if score >= 0.5]` are the answers"
        ),
        "stranger": "may still get\n  some of them",
    },
}
_QUANTIZED = """
poets itself computes with the 8-bit weights of `backbone.tflite`. The formats above hold the
network with its full weights, so their scores differ a little from those of `poets classify`."""


def licence_of(card: ModelCard) -> str:
    """Return the licence of the backbone's weights, in words."""
    if seed_of(card.weights) is not None:
        return "none needed, since they are random numbers"
    licence = _LICENCES.get(find_spec(card.architecture).keras_name, "Apache 2.0")
    return f"{licence}, if the weights are those that Keras publishes for {card.architecture}"


def write_readme(
    card: ModelCard, data_set: str, reports: list[dict[str, Any]], final_tensor_name: str
) -> str:
    """Return the text of the model card.

    Args:
        data_set: Name of the folder of photographs; "" where it is not known.
        reports: What became of each format, as `workers.exports.program` yields it.
        final_tensor_name: Output of the frozen graph.
    """
    counts = card.counts
    spec, seed = find_spec(card.architecture), seed_of(card.weights)
    height, width = card.preprocessing.input_size
    formats, loading = _describe_formats(reports, final_tensor_name)
    template = resources("workers.exports").joinpath("model_readme.md").read_text("utf-8")
    return template.format(
        **_WORDS[card.activation],
        card=card,
        spec=spec,
        n_labels=len(card.labels),
        poets=card.versions.get("poets", ""),
        weights=f"SHA-256 `{card.weights}`" if seed is None else f"random, from seed {seed}",
        solver=card.training.get("solver", ""),
        height=height,
        width=width,
        labels=", ".join(f"`{label}`" for label in card.labels),
        folder=f"The folder `{data_set}`" if data_set else "A folder not known here",
        quarantined=f"{counts.get('quarantined', 0):,}",
        left_out=f"{counts.get('left_out', 0):,}",
        splits="\n".join(f"| {name} | {counts[name]:,} |" for name in SPLITS if name in counts),
        figures=_figures(card),
        formats=formats + (_QUANTIZED if spec.is_quantized else ""),
        loading=loading,
        licence=licence_of(card),
    )


def _figures(card: ModelCard) -> str:
    def show(name: str, pattern: str) -> str:
        value = card.metrics.get(name)
        return "nothing was held out" if value is None else format(value, pattern)

    columns = {"accuracy": ".1%", "log_loss": ".3f"}
    note = ""
    if card.activation == SIGMOID:
        columns["mean_average_precision"] = ".3f"
        note = "\n\nAccuracy: all labels of the photograph are right, each decided at 0.5."
    rows = [["split", *(name.replace("_", " ") for name in columns)], ["---"] * (1 + len(columns))]
    for split in ("validation", "test"):
        rows.append([split, *(show(f"{split}_{name}", form) for name, form in columns.items())])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + note


def _describe_formats(reports: list[dict[str, Any]], final_tensor_name: str) -> tuple[str, str]:
    """Return the rows of the formats, and the programs that load them."""
    rows, refused, loading = [], [], []
    for report in reports:
        form = FORMATS[report["format"]]
        if "reason" in report:
            refused.append(f"- Not here: {form.title}; {report['reason']}.")
            continue
        rows.append(
            f"| {', '.join(f'`{file}`' for file in form.files)} | {form.title} "
            f"| {report['bytes'] / 1e6:.1f} MB | {report['difference']:.1g} "
            f"| {report['agreement']:.1%} of {report['images']} |"
        )
        code = form.loading.replace("{final_tensor_name}", final_tensor_name)
        title = f"{form.title[0].upper()}{form.title[1:]} (`pip install {form.package}`)"
        loading.append(f"{title}:\n\n```python\n{code}\n```\n")
    if refused:
        rows += ["", *refused]
    return "\n".join(rows), "\n".join(loading)
