"""Draw the photographs of `poets demo`: five made-up species, seeded, each picture different."""

import io
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

from workers.processes.heartbeat import Heartbeat
from workers.storage.atomic import put_whole

_WIDTH, _HEIGHT = 240, 200
# Drawn larger and scaled down, which smooths the edges.
_SCALE = 2
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Species:
    """How one species looks.

    Attributes:
        petals: Fewest and most.
        length, width: Of a petal, as shares of the flower's radius.
        colours: Of the petals; each petal mixes its own.
        centre: Radius as a share of the flower's radius.
    """

    petals: tuple[int, int]
    length: float
    width: float
    colours: tuple[Colour, Colour]
    centre: float
    centre_colour: Colour


_RED, _ORANGE, _SOOT = (214, 40, 30), (240, 96, 40), (60, 20, 25)
_WHITE, _ICE, _YOLK = (250, 250, 255), (222, 230, 255), (250, 200, 40)
_GOLD, _LEMON, _BROWN = (250, 205, 20), (255, 232, 90), (92, 56, 24)
_INDIGO, _VIOLET, _CREAM = (70, 40, 160), (120, 70, 205), (250, 240, 160)
_PINK, _BLUSH, _WINE = (240, 130, 185), (255, 185, 220), (190, 60, 120)
SPECIES = {
    "emberdisc": Species((5, 6), 0.85, 0.75, (_RED, _ORANGE), 0.2, _SOOT),
    "frostwheel": Species((14, 20), 1.0, 0.16, (_WHITE, _ICE), 0.28, _YOLK),
    "lampflower": Species((8, 10), 0.9, 0.42, (_GOLD, _LEMON), 0.5, _BROWN),
    "nightstar": Species((5, 5), 1.05, 0.3, (_INDIGO, _VIOLET), 0.12, _CREAM),
    "rosepuff": Species((24, 34), 0.72, 0.34, (_PINK, _BLUSH), 0.1, _WINE),
}


def draw_data_set(folder: Path, numbers: Iterable[int], heartbeat: Heartbeat) -> None:
    """Draw ``folder/SPECIES/SPECIES_N.jpg`` for each number, unless it exists.

    A number always gives the same picture.

    Args:
        heartbeat: Called after each picture.
    """
    for name in SPECIES:
        for number in numbers:
            path = folder / name / f"{name}_{number:03d}.jpg"
            if not path.exists():
                content = io.BytesIO()
                draw_flower(name, number).save(content, "JPEG", quality=88)
                path.parent.mkdir(parents=True, exist_ok=True)
                put_whole(path, content.getvalue())
            heartbeat()


def draw_flower(name: str, number: int) -> Image.Image:
    """Return picture `number` of a species: one flower on its stem before a blurred meadow."""
    generator = random.Random(f"{name}/{number}")  # noqa: S311 - seeded on purpose
    uniform, species = generator.uniform, SPECIES[name]
    picture = _draw_meadow(generator)
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    radius = uniform(0.28, 0.42) * height
    x, y = uniform(0.38, 0.62) * width, uniform(0.36, 0.52) * height
    foot = x + uniform(-50, 50)
    green = (generator.randint(30, 60), generator.randint(90, 125), 40)
    middle = (y + height) / 2
    draw.line((x, y, (x + foot) / 2 + 8, middle, foot, height), green, 10, "curve")
    draw.ellipse((x, middle, x + 80, middle + 26), fill=green)
    _draw_petals(draw, generator, species, (x, y), radius)
    centre = radius * species.centre * uniform(0.9, 1.1)
    draw.ellipse((x - centre, y - centre, x + centre, y + centre), fill=species.centre_colour)
    picture = picture.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)
    light = uniform(0.85, 1.12)
    return picture.point([min(255, int(value * light)) for value in range(256)] * 3)


def _draw_meadow(generator: random.Random) -> Image.Image:
    green = (generator.randint(60, 100), generator.randint(110, 150), generator.randint(45, 75))
    picture = Image.new("RGB", (_WIDTH * _SCALE, _HEIGHT * _SCALE), green)
    draw = ImageDraw.Draw(picture)
    for _ in range(26):
        x, y = generator.uniform(0, picture.width), generator.uniform(0, picture.height)
        size = generator.uniform(20, 90)
        shade = generator.randint(-45, 45)
        colour = tuple(max(0, min(255, part + shade)) for part in green)
        draw.ellipse((x - size, y - size / 2, x + size, y + size / 2), fill=colour)
    return picture.filter(ImageFilter.GaussianBlur(14))


def _draw_petals(
    draw: ImageDraw.ImageDraw,
    generator: random.Random,
    species: Species,
    centre: tuple[float, float],
    radius: float,
) -> None:
    count = generator.randint(*species.petals)
    first_angle = generator.uniform(0, math.tau)
    # Seen a little from the side.
    squeeze = generator.uniform(0.75, 1.0)
    for petal in range(count):
        angle = first_angle + math.tau * petal / count + generator.uniform(-0.05, 0.05)
        length = radius * species.length * generator.uniform(0.9, 1.1)
        share = generator.random()
        first, second = species.colours
        colour = tuple(int(a + (b - a) * share) for a, b in zip(first, second, strict=True))
        outline = tuple(int(part * 0.8) for part in colour)
        half_width = radius * species.width / 2
        points = []
        # An ellipse that begins in the middle of the flower.
        for step in range(24):
            around = math.tau * step / 24
            along, across = length / 2 * (1 - math.cos(around)), half_width * math.sin(around)
            right = along * math.cos(angle) - across * math.sin(angle)
            down = along * math.sin(angle) + across * math.cos(angle)
            points.append((centre[0] + right, centre[1] + squeeze * down))
        draw.polygon(points, fill=colour, outline=outline)
