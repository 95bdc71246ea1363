"""What a SavedModel makes of image files: nearly the pixels that poets makes of them."""

import numpy as np
import pytest
from PIL import Image

from tests.builders.pictures import decode_image
from workers.exports.graph_decoding import decode_images

pytestmark = pytest.mark.tensorflow

SIZE = (40, 60)


def decoded(*contents):
    import tensorflow as tf

    return tf.function(lambda files: decode_images(files, SIZE))(tf.constant(contents)).numpy()


def picture(mode="RGB", size=(90, 70)):
    """Four coloured corners with soft edges: every way to turn it gives another picture."""
    corners = np.array([[[250, 20, 30], [20, 240, 40]], [[30, 40, 250], [230, 220, 20]]], np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BILINEAR).convert(mode)


def saved(image, path, **options):
    image.save(path, **options)
    return path.read_bytes()


def difference(content):
    return np.abs(decoded(content)[0] - decode_image(content, SIZE).astype(np.float32))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_turned_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", orientation
    content = saved(picture(), tmp_path / "a.jpg", quality=95, exif=exif)

    assert difference(content).mean() < 1


@pytest.mark.parametrize("order", ["little", "big"])
def test_both_byte_orders_of_exif_are_read(tmp_path, order):
    mark = b"II*\0" if order == "little" else b"MM\0*"

    def number(value, length):
        return value.to_bytes(length, order)

    entry = number(0x0112, 2) + number(3, 2) + number(1, 4) + number(6, 2) + bytes(2)
    exif = b"Exif\0\0" + mark + number(8, 4) + number(1, 2) + entry + number(0, 4)
    content = saved(picture(), tmp_path / "a.jpg", quality=95, exif=exif)

    assert difference(content).mean() < 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_a_damaged_exif_block_is_no_orientation(tmp_path, exif):
    content = saved(picture(), tmp_path / "a.jpg", quality=95, exif=exif)

    assert difference(content).mean() < 1


@pytest.mark.parametrize(
    ("mode", "ending"),
    [
        ("L", "jpg"),
        ("CMYK", "jpg"),
        ("P", "png"),
        ("RGB", "png"),
        ("L", "png"),
        ("P", "gif"),
        ("RGB", "bmp"),
    ],
)
def test_modes_and_formats_are_read_alike(tmp_path, mode, ending):
    content = saved(picture(mode), tmp_path / f"a.{ending}")

    assert difference(content).mean() < 1


def test_transparency_is_laid_on_white(tmp_path):
    image = picture("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))

    assert difference(saved(image, tmp_path / "a.png")).mean() < 2


def test_a_large_photograph_is_resized_without_skipping_pixels(tmp_path):
    # One pixel black, one white: whoever skips pixels sees no grey.
    board = np.indices((600, 900)).sum(axis=0) % 2 * 255
    content = saved(Image.fromarray(board.astype(np.uint8)), tmp_path / "a.png")

    assert np.abs(decoded(content)[0] - 127.5).max() < 15


def test_files_of_many_sizes_go_together(tmp_path):
    sizes = [(20, 30), (300, 50), (90, 70)]
    contents = [saved(picture(size=size), tmp_path / f"{size[0]}.png") for size in sizes]

    together = decoded(*contents)

    assert together.shape == (3, *SIZE, 3)
    for found, content in zip(together, contents, strict=True):
        assert np.array_equal(found, decoded(content)[0])
