"""The confusion matrix as a picture for TensorBoard."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# More labels than this have no room for names and counts.
_LEGIBLE_LABELS = 30
_CELL = 34
_FONT_SIZE = 12
_NAME_LENGTH = 22
_LARGEST = 1024
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_PAPER, _INK = (255, 255, 255), (16, 24, 40)
_FULL = np.array((8, 81, 156), np.float64)


def draw_confusion(
    confusion: NDArray[np.int64], labels: tuple[str, ...]
) -> tuple[bytes, tuple[int, int]]:
    """Return a PNG, and its width and height in pixels.

    Rows are true labels, columns predicted ones; the darker a cell, the larger its share of
    the row. Up to 30 labels it has names and counts; more than 1,024 are scaled down.

    Args:
        confusion: Shape (labels, labels).
    """
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    if len(labels) <= _LEGIBLE_LABELS:
        picture = _draw_legible(confusion, shares, labels)
    else:
        picture = _draw_plain(shares)
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue(), picture.size


def _draw_plain(shares: NDArray[np.float64]) -> Image.Image:
    colours = _PAPER + shares[..., np.newaxis] * (_FULL - _PAPER)
    picture = Image.fromarray(np.rint(colours).astype(np.uint8))
    cell = max(1, _LARGEST // len(shares))
    picture = picture.resize((len(shares) * cell,) * 2, Image.Resampling.NEAREST)
    # Averages cells, so that a mistake fades but is not left out.
    picture.thumbnail((_LARGEST, _LARGEST), Image.Resampling.BOX, reducing_gap=None)
    return picture


def _draw_legible(
    confusion: NDArray[np.int64], shares: NDArray[np.float64], labels: tuple[str, ...]
) -> Image.Image:
    font = ImageFont.load_default(_FONT_SIZE)
    names = [_shorten(label) for label in labels]
    widest = max(font.getlength(name) for name in names)
    margin = round(widest) + 40
    side = margin + _CELL * len(names) + 8
    picture = Image.new("RGB", (side, side), _PAPER)
    draw = ImageDraw.Draw(picture)
    for place, name in enumerate(names):
        middle = margin + _CELL * place + _CELL // 2
        draw.text((margin - 8, middle), name, _INK, font, "rm")
        _write_upwards(picture, name, (middle, margin - 8), font)
    draw.text((margin - 8, margin - 8), "true", _INK, font, "rb")
    draw.text((margin, 8), "predicted", _INK, font, "lt")
    for row, column in np.ndindex(confusion.shape):
        left, top = margin + _CELL * column, margin + _CELL * row
        share = shares[row, column]
        colour = tuple(np.rint(_PAPER + share * (_FULL - _PAPER)).astype(int).tolist())
        draw.rectangle((left, top, left + _CELL, top + _CELL), colour, (210, 216, 224))
        if confusion[row, column]:
            text = _count(int(confusion[row, column]))
            ink = _PAPER if share > 0.5 else _INK
            draw.text((left + _CELL / 2, top + _CELL / 2), text, ink, font, "mm")
    return picture


def _write_upwards(picture: Image.Image, text: str, end: tuple[int, int], font: _Font) -> None:
    """Write `text` from below, its end at (x of its middle, y of its lower end)."""
    strip = Image.new("RGB", (round(font.getlength(text)) + 2, _FONT_SIZE + 6), _PAPER)
    ImageDraw.Draw(strip).text((0, strip.height // 2), text, _INK, font, "lm")
    turned = strip.rotate(90, expand=True)
    picture.paste(turned, (end[0] - turned.width // 2, end[1] - turned.height))


def _shorten(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"


def _count(number: int) -> str:
    """Return at most four characters: 9999, 12k, 3M."""
    if number < 10_000:
        return str(number)
    return f"{number // 1000}k" if number < 1_000_000 else f"{number // 1_000_000}M"
