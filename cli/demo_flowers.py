"""Draw the photographs of `poets demo`: five made-up species, seeded, each picture different."""

import cmath
import io
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

from workers.processes.heartbeat import Heartbeat
from workers.storage.atomic import write_whole

_WIDTH, _HEIGHT = 240, 200
# Drawn larger and scaled down, which smooths the edges.
_SCALE = 2
Colour = tuple[int, ...]


@dataclass(frozen=True)
class Species:
    """How one species looks.

    Attributes:
        petals: Fewest and most.
        length, width: Of a petal, as shares of the flower's radius.
        colours: Of the petals; each petal is a mixture.
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
                write_whole(path, content.getvalue())
            heartbeat()


def draw_flower(name: str, number: int) -> Image.Image:
    """Return picture `number` of a species: one flower on its stem before a blurred meadow."""
    generator = random.Random(f"{name}/{number}")  # noqa: S311 - seeded on purpose
    uniform = generator.uniform
    picture = _draw_meadow(generator)
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    radius = uniform(0.28, 0.42) * height
    middle = complex(uniform(0.38, 0.62) * width, uniform(0.36, 0.52) * height)
    bend = (middle + complex(middle.real + uniform(-50, 50), height)) / 2
    stem = [middle, bend, complex(2 * bend.real - middle.real, height)]
    draw.line(list(map(_point, stem)), (45, 108, 40), 10, "curve")
    draw.ellipse((bend.real, bend.imag, bend.real + 80, bend.imag + 26), (45, 108, 40))
    species = SPECIES[name]
    _draw_petals(draw, generator, species, middle, radius)
    draw.circle(_point(middle), radius * species.centre * uniform(0.9, 1.1), species.centre_colour)
    light = uniform(0.85, 1.12)
    picture = picture.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)
    return picture.point([min(255, int(value * light)) for value in range(256)] * 3)


def _draw_meadow(generator: random.Random) -> Image.Image:
    green = (generator.randint(60, 100), generator.randint(110, 150), generator.randint(45, 75))
    picture = Image.new("RGB", (_WIDTH * _SCALE, _HEIGHT * _SCALE), green)
    draw = ImageDraw.Draw(picture)
    for _ in range(26):
        x, y = generator.uniform(0, picture.width), generator.uniform(0, picture.height)
        shade = _mix(green, generator.choice([(0, 60, 0), (190, 220, 150)]), generator.random() / 2)
        draw.circle((x, y), generator.uniform(20, 70), shade)
    return picture.filter(ImageFilter.GaussianBlur(14))


def _draw_petals(
    draw: ImageDraw.ImageDraw,
    generator: random.Random,
    species: Species,
    middle: complex,
    radius: float,
) -> None:
    count = generator.randint(*species.petals)
    first = generator.uniform(0, math.tau)
    for petal in range(count):
        angle = first + math.tau * petal / count + generator.uniform(-0.05, 0.05)
        length, half_width = radius * species.length, radius * species.width / 2
        colour = _mix(*species.colours, generator.random())
        # An ellipse that begins in the middle of the flower.
        steps = [cmath.rect(1, math.tau * step / 24) for step in range(24)]
        edge = [complex(length / 2 * (1 - z.real), half_width * z.imag) for z in steps]
        points = [_point(middle + cmath.rect(1, angle) * z) for z in edge]
        draw.polygon(points, fill=colour, outline=_mix(colour, (0, 0, 0), 0.2))


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    return tuple(int(a + (b - a) * share) for a, b in zip(one, other, strict=True))


def _point(z: complex) -> tuple[float, float]:
    return z.real, z.imag
