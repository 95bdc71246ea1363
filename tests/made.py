"""Small things that tests make: pictures, data sets, plans."""

import fcntl
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from orchestrator.dataset.label_file import apply_label_file, read_label_file
from orchestrator.dataset.scan import scan_folder
from orchestrator.planning.plan import plan_training
from workers.backbones.table import BackboneChoice, find_spec, name_backbone
from workers.images.decoding import decode_picture
from workers.images.distortions import PLAIN
from workers.images.resizing import cut_pixels
from workers.storage.layout import RunFolder, Storage
from workers.storage.plan import TrainingOptions

# The quickest backbone there is, with weights that need no file.
ARCHITECTURE, WEIGHTS = "mobilenet_0.25_128", "random-0"
BACKBONE_ID = name_backbone(find_spec(ARCHITECTURE), WEIGHTS)
BACKBONE = BackboneChoice(ARCHITECTURE, WEIGHTS, BACKBONE_ID)
# Python imports a module of this name when it starts; this one sees every file that is opened.
POISON = """
import os, signal, sys, time

def act(event, arguments):
    name = os.path.basename(os.fsdecode(arguments[0])) if event == "open" else ""
    if name == "abort.jpg": os.abort()
    if name == "kill.jpg": os.kill(os.getpid(), signal.SIGKILL)
    if name == "exit.jpg": os._exit(7)
    if name == "hang.jpg": time.sleep(600)
    if name == "once.jpg" and not os.path.exists(arguments[0] + ".seen"):
        os.mkdir(arguments[0] + ".seen")
        os.abort()

def listen(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        act(event, (os.fsdecode(arguments[0]),))

sys.addaudithook(listen)
"""
COLOURS = {"blue": (30, 40, 220), "green": (30, 200, 40), "red": (220, 30, 30)}


def make_picture(path: Path, colour: tuple[int, int, int], seed: int = 0) -> Path:
    """Write a small noisy JPEG of one colour; each seed gives other bytes."""
    noise = np.random.default_rng(seed).integers(-25, 26, (48, 64, 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "JPEG", quality=90)
    return path


def decode_image(content: bytes, input_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the pixels of an image file's bytes, as `load_image` those of a file."""
    return cut_pixels(decode_picture(content, input_size), input_size, PLAIN)


def make_data_set(
    folder: Path, per_label: int = 12, labels: tuple[str, ...] = ("blue", "red")
) -> Path:
    """Write ``folder/LABEL/N.jpg``, easy to tell apart."""
    for place, label in enumerate(labels):
        for number in range(per_label):
            picture = folder / label / f"{number:03d}.jpg"
            make_picture(picture, COLOURS[label], 1000 * place + number)
    return folder


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that one of the processes of pytest-xdist makes for all of them."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, made = base / name, base / f"{name}.made"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


SHAPES = {"circle": (230, 60, 50), "square": (60, 170, 80), "triangle": (60, 90, 220)}


def make_shapes(folder: Path, count: int = 60) -> Path:
    """Write ``folder/PART/NNN.jpg``, each with any of three shapes, or none; return labels.csv.

    Every shape has its colour; place and size are drawn. The CSV lies beside the folder.
    """
    rows = ["path,labels"]
    for number in range(count):
        generator = np.random.default_rng(number)
        shown = [name for bit, name in enumerate(SHAPES) if (number * 5 + 3) % 8 >> bit & 1]
        ground = generator.integers(180, 256, (96, 96, 3)).astype(np.uint8)
        picture = Image.fromarray(ground)
        draw = ImageDraw.Draw(picture)
        for place, name in enumerate(shown):
            radius = int(generator.integers(12, 17))
            middle = 20 + 28 * place, int(generator.integers(20, 76))
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


def make_run(
    storage: Storage,
    folder: Path,
    name: str = "run",
    batch_size: int = 8,
    options: TrainingOptions | None = None,
    label_file: Path | None = None,
) -> RunFolder:
    """Plan a training run with the tiny backbone."""
    scan = scan_folder(folder)
    if label_file:
        apply_label_file(scan, read_label_file(label_file))
        options = replace(options or TrainingOptions(), multi_label=True)
    return plan_training(
        storage,
        scan,
        lambda: BACKBONE,
        options or TrainingOptions(),
        name=name,
        batch_size=batch_size,
    )
