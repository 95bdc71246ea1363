"""The model card of an exported model: what it is, what it is worth, how to load it."""

from dataclasses import dataclass
from typing import Any

from workers.backbones.table import find_spec
from workers.backbones.weights import seed_of
from workers.exports.formats import FORMATS
from workers.heads.head import SIGMOID
from workers.heads.model_folder import ModelCard

_APACHE = "Apache 2.0"
# Keras class -> licence of the weights that Keras publishes. What has no row here comes from
# Google (tensorflow/models, tensorflow/tpu, google/automl), which publishes under Apache 2.0.
_LICENCES = {"ResNet50": "MIT (Kaiming He)"}


@dataclass(frozen=True)
class ReadmeContent:
    """What the model card is written from.

    Attributes:
        data_set: Name of the folder of photographs; "" where it is not known.
        reports: What became of each format, as `workers.exports.program` yields it.
        final_tensor_name: Output of the frozen graph.
    """

    card: ModelCard
    data_set: str
    reports: list[dict[str, Any]]
    final_tensor_name: str


def licence_of(card: ModelCard) -> str:
    """Return the licence of the backbone's weights, in words."""
    if seed_of(card.weights) is not None:
        return "none needed, they are random numbers"
    licence = _LICENCES.get(find_spec(card.architecture).keras_name, _APACHE)
    return f"{licence}, if the weights are those that Keras publishes for {card.architecture}"


def write_readme(content: ReadmeContent) -> str:
    """Return the text of the model card."""
    sections = [_summary, _data, _figures, _formats, _loading, _limits, _licence]
    return "\n".join(section(content) for section in sections)


def _summary(content: ReadmeContent) -> str:
    card = content.card
    height, width = card.preprocessing.input_size
    spec = find_spec(card.architecture)
    task, head = "a probability", "softmax regression"
    if card.activation == SIGMOID:
        task = "a probability of its own; a photograph may\nhave several of them, or none"
        head = "a logistic regression for each label"
    return f"""\
# {card.name}

A classifier of photographs: it gives each of {len(card.labels)} labels {task}. Made by
poets {card.versions.get("poets", "")} on {card.created[:10]}.

- Backbone: `{card.architecture}` ({spec.source}), {spec.parameters:,} numbers
- Weights of the backbone: {_weights(card)}
- Head: {head} on {card.bottleneck_size} numbers, fitted with
  `{card.training.get("solver", "")}`
- Input: RGB, {width} x {height} pixels, squeezed without keeping the aspect ratio
- Labels, in order: {", ".join(f"`{label}`" for label in card.labels)}
"""


def _weights(card: ModelCard) -> str:
    seed = seed_of(card.weights)
    return f"SHA-256 `{card.weights}`" if seed is None else f"random, from seed {seed}"


def _data(content: ReadmeContent) -> str:
    counts = content.card.counts
    is_multi_label = content.card.activation == SIGMOID
    origin = "with a table of labels" if is_multi_label else "one folder for each label"
    source = f"The folder `{content.data_set}`" if content.data_set else "A folder that is not here"
    rows = [
        f"| {split} | {counts[split]:,} |"
        for split in ("training", "validation", "testing")
        if split in counts
    ]
    return f"""\
## Data

{source}, {origin}. {counts.get("quarantined", 0):,} images could not be read, and
{counts.get("left_out", 0):,} were left out of training as copies of held-out ones. The split is by
file name.

| split | images |
| --- | --- |
{chr(10).join(rows)}
"""


def _figures(content: ReadmeContent) -> str:
    def show(name: str, pattern: str) -> str:
        value = content.card.metrics.get(name)
        return "nothing was held out" if value is None else format(value, pattern)

    columns = {"accuracy": ".1%", "log_loss": ".3f"}
    note = ""
    if content.card.activation == SIGMOID:
        columns["mean_average_precision"] = ".3f"
        note = "\nAccuracy: all labels of the photograph are right, each decided at 0.5.\n"
    rows = [
        " | ".join([split, *(show(f"{split}_{name}", form) for name, form in columns.items())])
        for split in ("validation", "test")
    ]
    head = " | ".join(["split", *(name.replace("_", " ") for name in columns)])
    return f"""\
## Figures

| {head} |
|{" --- |" * (1 + len(columns))}
| {rows[0]} |
| {rows[1]} |
{note}
Quote those of the test split: the validation split has chosen how strongly the head is held back.
"""


def _formats(content: ReadmeContent) -> str:
    done = [report for report in content.reports if "reason" not in report]
    rows = [
        f"| {', '.join(f'`{file}`' for file in FORMATS[report['format']].files)} "
        f"| {FORMATS[report['format']].title} | {report['bytes'] / 1e6:.1f} MB "
        f"| {report['difference']:.1g} | {report['agreement']:.1%} of {report['images']} |"
        for report in done
    ]
    left = [
        f"- Not here: {FORMATS[report['format']].title}; {report['reason']}."
        for report in content.reports
        if "reason" in report
    ]
    note = ""
    if find_spec(content.card.architecture).is_quantized:
        note = """
poets itself computes with the 8-bit weights of `backbone.tflite`. The formats above hold the
network with its full weights, so their scores differ a little from those of `poets classify`.
"""
    return f"""\
## Formats

Compared with `poets classify` when they were made, on the same pixels: the largest difference of a
probability, and how often the best label is the same.

| file | what | size | difference | same label |
| --- | --- | --- | --- | --- |
{chr(10).join(rows)}
{chr(10).join(["", *left, ""]) if left else ""}{note}
`model.json`, `head.npz`, `labels.txt` and `backbone.tflite` are what poets itself reads:
`poets classify photo.jpg --model .`
"""


def _loading(content: ReadmeContent) -> str:
    height, width = content.card.preprocessing.input_size
    answer = "`labels[scores.argmax()]` is the answer"
    if content.card.activation == SIGMOID:
        answer = "`[label for label, score in zip(labels, scores) if score >= 0.5]` are the answers"
    parts = [
        f"""\
## Loading it

In this folder, with `photograph` naming a file:

```python
import cv2
import numpy as np
from PIL import Image, ImageOps
image = np.asarray(ImageOps.exif_transpose(Image.open(photograph)).convert("RGB"))
pixels = cv2.resize(image, ({width}, {height})).astype("float32")[np.newaxis]
labels = [line.rstrip("\\n") for line in open("labels.txt", encoding="utf-8")]
```

(Give `interpolation=cv2.INTER_AREA` for a photograph more than three times as wide or high, or
pixels are skipped. Pillow's own resize moves a score by 0.005 in the median.)

Then one of these, and {answer}.
"""
    ]
    for report in content.reports:
        if "reason" not in report:
            row = FORMATS[report["format"]]
            code = row.loading.replace("{final_tensor_name}", content.final_tensor_name)
            parts.append(f"{row.title[0].upper()}{row.title[1:]}:\n\n```python\n{code}\n```\n")
    return "\n".join(parts)


def _limits(content: ReadmeContent) -> str:
    stranger = "gets one of them all the\n  same, often with a high score"
    if content.card.activation == SIGMOID:
        stranger = "may get some of them\n  all the same"
    return f"""\
## Limits

- It knows its labels and nothing else: a photograph of something else {stranger}.
- It is as good as its data: wrong labels, and light, places and cameras that the data lacks, show.
- The figures hold for photographs like those of the data set, split at random; they are no promise
  for others.
- The backbone was trained on ImageNet (if its weights are not random), with the preferences and
  prejudices of that collection. Do not use it to judge people.
"""


def _licence(content: ReadmeContent) -> str:
    return f"""\
## Licence

- Weights of the backbone: {licence_of(content.card)}.
- Head and labels come from the data set above, whose licence is for its owner to say.
"""
