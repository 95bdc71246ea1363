"""The made-up flowers of `poets demo`: seeded, all different, told apart by the eye."""

import hashlib

import numpy as np
import pytest

from cli.demo_flowers import SPECIES, draw_data_set, draw_flower
from workers.images.loading import OpenImage
from workers.processes.heartbeat import no_heartbeat


@pytest.mark.parametrize("name", SPECIES)
def test_a_number_always_gives_the_same_picture(name):
    one, again, other = (draw_flower(name, number) for number in (3, 3, 4))

    assert one.tobytes() == again.tobytes()
    assert one.tobytes() != other.tobytes()
    assert (one.mode, one.size) == ("RGB", (240, 200))


def test_every_species_gets_a_folder_of_photographs(tmp_path):
    beats = []

    draw_data_set(tmp_path, range(2), lambda: beats.append(1))

    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.jpg"))
    assert files == [f"{name}/{name}_{number:03d}.jpg" for name in SPECIES for number in (0, 1)]
    assert (
        len({hashlib.sha256(path.read_bytes()).digest() for path in tmp_path.rglob("*.jpg")}) == 10
    )
    assert len(beats) == 10
    for path in tmp_path.rglob("*.jpg"):
        assert OpenImage(str(path), (64, 64)).cut().std() > 10


def test_what_is_there_is_not_drawn_again(tmp_path):
    first = next(iter(SPECIES))
    (tmp_path / first).mkdir()
    (tmp_path / first / f"{first}_000.jpg").write_bytes(b"mine")

    draw_data_set(tmp_path, [0], no_heartbeat)

    assert (tmp_path / first / f"{first}_000.jpg").read_bytes() == b"mine"
    assert len(list(tmp_path.rglob("*.jpg"))) == len(SPECIES)


def test_the_middle_of_a_flower_tells_its_species():
    def colour(name, number):
        picture = draw_flower(name, number).resize((24, 20))
        return np.asarray(picture)[4:14, 6:18].reshape(-1, 3).mean(axis=0)

    means = {name: np.mean([colour(name, n) for n in range(4)], axis=0) for name in SPECIES}

    def guess(seen):
        return min(SPECIES, key=lambda name: np.abs(means[name] - seen).sum())

    right = sum(guess(colour(name, number)) == name for name in SPECIES for number in range(4, 8))
    assert right >= 14
