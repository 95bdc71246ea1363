"""Small pictures, and what their pixels should be."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workers.images.decoding import decode_picture
from workers.images.distortions import PLAIN
from workers.images.resizing import cut_pixels

COLOURS = {"blue": (30, 40, 220), "green": (30, 200, 40), "red": (220, 30, 30)}


def make_picture(path: Path, colour: tuple[int, int, int], seed: int = 0) -> Path:
    """Write a small noisy JPEG of one colour; each seed gives other bytes."""
    noise = np.random.default_rng(seed).integers(-25, 26, (48, 64, 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "JPEG", quality=90)
    return path


def damage_jpeg(path: Path) -> Path:
    """Put zeros in the place of the second half of a JPEG, as a broken memory card does."""
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes(content[:half] + bytes(half) + b"\xff\xd9")
    return path


def decode_image(content: bytes, input_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the pixels of an image file's bytes, see `OpenImage`."""
    return cut_pixels(decode_picture(content, input_size), input_size, PLAIN)
