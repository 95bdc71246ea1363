"""Folders of labelled pictures."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tests.builders.pictures import COLOURS, make_picture

SHAPES = {"circle": (230, 60, 50), "square": (60, 170, 80), "triangle": (60, 90, 220)}


def make_data_set(
    folder: Path, per_label: int = 12, labels: tuple[str, ...] = ("blue", "red")
) -> Path:
    """Write ``folder/LABEL/N.jpg``, easy to tell apart."""
    for index, label in enumerate(labels):
        for number in range(per_label):
            picture = folder / label / f"{number:03d}.jpg"
            make_picture(picture, COLOURS[label], 1000 * index + number)
    return folder


def make_shapes(folder: Path, count: int = 60) -> Path:
    """Write ``folder/PART/NNN.jpg``, each with any of three shapes, or none; return labels.csv.

    Every shape has its colour; its position and size are random. The CSV lies beside the folder.
    """
    rows = ["path,labels"]
    for number in range(count):
        generator = np.random.default_rng(number)
        shown = [name for bit, name in enumerate(SHAPES) if (number * 5 + 3) % 8 >> bit & 1]
        ground = generator.integers(180, 256, (96, 96, 3)).astype(np.uint8)
        picture = Image.fromarray(ground)
        draw = ImageDraw.Draw(picture)
        for index, name in enumerate(shown):
            radius = int(generator.integers(12, 17))
            middle = 20 + 28 * index, int(generator.integers(20, 76))
            _draw_shape(draw, name, middle, radius)
        path = folder / ("first" if number % 2 else "second") / f"{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, "JPEG", quality=90)
        rows.append(f"{path.relative_to(folder)},{';'.join(shown)}")
    labels = folder.with_suffix(".csv")
    labels.write_text("\n".join(rows) + "\n", "utf-8")
    return labels


def _draw_shape(draw: ImageDraw.ImageDraw, name: str, middle: tuple[int, int], radius: int) -> None:
    if name == "circle":
        draw.circle(middle, radius, SHAPES[name])
    else:
        draw.regular_polygon((middle, radius), 4 if name == "square" else 3, fill=SHAPES[name])
