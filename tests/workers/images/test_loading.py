"""One image file becomes pixels: formats, orientation, depth, transparency, refusals."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from tests.builders.pictures import decode_image
from workers.errors import ImageError
from workers.images.loading import OpenImage

SHADES = np.array([[0, 80], [160, 240]], np.uint8)
# What each EXIF orientation does to [[0, 1], [2, 3]]: where the viewer sees the stored corners.
SEEN = {
    1: [[0, 80], [160, 240]],
    2: [[80, 0], [240, 160]],
    3: [[240, 160], [80, 0]],
    4: [[160, 240], [0, 80]],
    5: [[0, 160], [80, 240]],
    6: [[160, 0], [240, 80]],
    7: [[240, 80], [160, 0]],
    8: [[80, 240], [0, 160]],
}


def as_bytes(image: Image.Image, kind: str, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds next to nothing."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


JPEG = as_bytes(Image.effect_noise((40, 30), 60).convert("RGB"), "JPEG")


# That they cannot be read is Pillow's view: only the last byte is missing, half of its end marker;
# and only the colour profile, which is ignored, is packed in an unknown way.
WHOLE_ALL_THE_SAME = {"truncated_jpeg.jpg", "unknown_compression_method.png"}


def awkward_files(data):
    lines = (data / "awkward" / "MANIFEST.tsv").read_text("utf-8").splitlines()[1:]
    for line in lines:
        name, _, _, _, _, verdict, _ = line.split("\t")
        yield data / "awkward" / name.replace("\\n", "\n"), verdict


def test_every_awkward_file_is_decoded_or_refused_as_its_manifest_says(data):
    wrong, files = [], list(awkward_files(data))

    for path, verdict in files:
        try:
            pixels = OpenImage(str(path), (32, 48)).cut()
            outcome = "yes"
            assert pixels.shape == (32, 48, 3)
            assert pixels.dtype == np.uint8
        except ImageError as error:
            outcome = "no"
            assert 5 < len(str(error)) < 200
            assert " at 0x" not in str(error)
        if verdict not in ("optional", outcome) and path.name not in WHOLE_ALL_THE_SAME:
            wrong.append((path.name, verdict, outcome))

    assert len(files) == 77
    assert wrong == []


@pytest.mark.parametrize("orientation", SEEN)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_an_image_is_turned_as_its_exif_orientation_says(kind, orientation):
    stored = np.kron(SHADES, np.ones((64, 64), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = as_bytes(Image.fromarray(stored).convert("RGB"), kind, exif=exif.tobytes())

    pixels = decode_image(content, (64, 64))

    corners = pixels[16::32, 16::32, 0].astype(int)
    assert np.abs(corners - SEEN[orientation]).max() <= 4


def test_orientation_changes_which_side_is_long():
    stored = np.zeros((20, 200), np.uint8)
    stored[:, :50] = 250
    exif = Image.Exif()
    exif[0x0112] = 6
    content = as_bytes(Image.fromarray(stored), "JPEG", exif=exif.tobytes())

    pixels = decode_image(content, (200, 20))

    assert pixels[:45].mean() > 240
    assert pixels[55:].mean() < 10


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_does_not_exist_is_no_reason_to_refuse(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = as_bytes(Image.new("RGB", (8, 8), "red"), "JPEG", exif=exif.tobytes())

    assert decode_image(content, (8, 8)).shape == (8, 8, 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_keeps_its_shades(kind):
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)

    pixels = decode_image(as_bytes(Image.fromarray(ramp), kind), (16, 16))

    assert np.array_equal(pixels[..., 0], np.arange(256).reshape(16, 16))
    assert (pixels == pixels[..., :1]).all()


def test_a_real_sixteen_bit_photograph_is_not_white(data):
    path = data / "awkward" / "16bit.cropped.tif"
    with Image.open(path) as image:
        expected = np.asarray(image) / 257

    pixels = OpenImage(str(path), (64, 64)).cut()

    assert np.abs(pixels[..., 0] - expected).max() <= 0.51
    assert pixels.max() < 250 or pixels.std() > 1


def test_a_dark_sixteen_bit_picture_is_dark_in_every_format():
    dark = Image.fromarray(np.full((8, 8), 200, np.uint16))

    for kind in ("PNG", "TIFF", "PPM"):
        assert decode_image(as_bytes(dark, kind), (8, 8)).max() == 1, kind


def test_thirty_two_bit_numbers_are_stretched_over_all_shades():
    values = np.full((8, 8), 70_000, np.int32)
    values[4:] = 100_000

    pixels = decode_image(as_bytes(Image.fromarray(values), "TIFF"), (8, 8))

    assert (pixels.min(), pixels.max()) == (0, 255)


def test_the_transparent_value_of_sixteen_bit_grey_is_white():
    values = np.full((8, 8), 1000, np.uint16)
    values[4:] = 7
    content = as_bytes(Image.fromarray(values), "PNG", transparency=7)

    pixels = decode_image(content, (8, 8))

    assert (pixels[0] == 4).all()
    assert (pixels[7] == 255).all()


def test_floating_point_grey_is_stretched_over_all_shades():
    ramp = np.linspace(-3, 5, 256, dtype=np.float32).reshape(16, 16)
    ramp[0, 1] = np.nan

    pixels = decode_image(as_bytes(Image.fromarray(ramp), "TIFF"), (16, 16))

    assert pixels.min() == 0
    assert pixels.max() == 255


@pytest.mark.parametrize("ink", [(255, 0, 0, 0), (0, 200, 0, 30), (20, 10, 180, 90)])
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_printers_inks_become_the_colour_that_they_print(kind, ink):
    cyan, magenta, yellow, black = ink
    expected = [(255 - part) * (255 - black) / 255 for part in (cyan, magenta, yellow)]

    pixels = decode_image(as_bytes(Image.new("CMYK", (16, 16), ink), kind), (16, 16))

    assert np.abs(pixels.reshape(-1, 3).mean(axis=0) - expected).max() < 4


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparent_pixels_are_white_whatever_colour_they_hide(kind):
    image = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 4, 8))
    options = {"lossless": True} if kind == "WEBP" else {}

    pixels = decode_image(as_bytes(image, kind, **options), (8, 8))

    assert (pixels[:, 6:] == 255).all()
    assert (pixels[:, :2] == (0, 0, 255)).all()


def test_half_transparent_pixels_are_mixed_with_white():
    content = as_bytes(Image.new("RGBA", (8, 8), (0, 0, 0, 128)), "PNG")

    assert np.abs(decode_image(content, (8, 8)).astype(int) - 127).max() <= 1


def test_a_transparent_palette_entry_is_white():
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 255, 0, 255, 0, 0])

    assert (decode_image(as_bytes(image, "PNG", transparency=1), (8, 8)) == 255).all()
    assert (decode_image(as_bytes(image, "PNG"), (8, 8)) == (255, 0, 0)).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_of_png_becomes_three_channels(mode):
    image = Image.new("L", (8, 8), 255).convert(mode)

    assert (decode_image(as_bytes(image, "PNG"), (4, 6)) == np.full((4, 6, 3), 255)).all()


def test_a_camera_sized_photograph_looks_as_if_it_had_been_decoded_in_full():
    smooth = Image.radial_gradient("L").resize((2400, 1600)).convert("RGB")
    expected = np.asarray(smooth.resize((96, 64), Image.Resampling.BILINEAR)).astype(int)

    pixels = decode_image(as_bytes(smooth, "JPEG", quality=95), (64, 96))

    assert np.abs(pixels - expected).max() <= 4


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"subsampling": "4:4:4"}),
        ("RGB", {"subsampling": "4:2:0"}),
        ("RGB", {"progressive": True}),
        ("RGB", {"keep_rgb": True}),
        ("L", {}),
    ],
)
def test_a_jpeg_has_the_colours_that_pillow_sees(data, mode, options):
    with Image.open(data / "flowers" / "daisy" / "102841525_bd6628ae3c.jpg") as photograph:
        content = as_bytes(photograph.convert(mode), "JPEG", quality=90, **options)
    with Image.open(io.BytesIO(content)) as seen:
        expected = np.asarray(seen.convert("RGB"), int)

    pixels = decode_image(content, expected.shape[:2])

    # Two builds of libjpeg-turbo may round apart.
    assert np.abs(pixels - expected).max() <= 2


def test_a_jpeg_that_only_pillow_accepts_is_decoded_by_it():
    start = JPEG.index(b"\xff\xda")
    tolerated = JPEG[:start] + b"\0\0" + JPEG[start:]
    with pytest.raises(ValueError, match="extraneous"):
        simplejpeg.decode_jpeg(tolerated)

    assert np.array_equal(decode_image(tolerated, (30, 40)), decode_image(JPEG, (30, 40)))


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"msf1"])
def test_heif_is_refused_with_what_to_do(brand):
    with pytest.raises(ImageError, match="HEIF is not supported: convert it to JPEG"):
        decode_image(b"\0\0\0\x18ftyp" + brand + b"\0" * 40, (8, 8))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"hello", "not an image: no known format"),
        (b"<html>404</html>", "not an image: no known format"),
        (JPEG[:-200], "cannot be decoded: image file is truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "EPS is not supported"),
    ],
)
def test_what_is_no_image_is_refused_with_a_reason(content, reason):
    with pytest.raises(ImageError, match=reason):
        decode_image(content, (8, 8))


@pytest.mark.parametrize("kind", ["ICO", "PCX", "EPS", "PDF", "ICNS", "DDS", "JPEG2000", "SGI"])
def test_a_format_outside_the_list_is_refused_although_pillow_knows_it(kind):
    content = as_bytes(Image.new("RGB", (64, 64)), kind)

    with pytest.raises(ImageError, match="is not supported: convert it to JPEG"):
        decode_image(content, (8, 8))


def test_a_decompression_bomb_is_refused_before_it_takes_memory(tmp_path):
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_of_size(60_000, 60_000))
    code = (
        "import resource, sys; from workers.errors import ImageError\n"
        "from workers.images.loading import OpenImage\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: OpenImage(sys.argv[1], (8, 8))\n"
        "except ImageError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )

    found = subprocess.run(
        [sys.executable, "-c", code, str(bomb)], capture_output=True, text=True, check=True
    )

    reason, grown_kb = found.stdout.splitlines()
    assert reason.startswith("too large: 60000x60000 pixels")
    assert int(grown_kb) < 30_000
