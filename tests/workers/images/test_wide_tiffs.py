"""TIFFs of every depth, meaning, order, layout and compression, against their own numbers."""

import itertools
import struct
import zlib

import numpy as np
import pytest

from tests.builders.pictures import decode_image
from tests.builders.tiffs import (
    BLACK_IS_ZERO,
    CMYK,
    DEFLATE,
    FLOAT,
    LZW,
    PACKBITS,
    PALETTE,
    RAW,
    RGB,
    SIGNED,
    UNSIGNED,
    WHITE_IS_ZERO,
    make_tiff,
)
from workers.errors import ImageError
from workers.images.tiff_tags import Directory, Tag, read_directory, write_directory

HEIGHT, WIDTH = 16, 24
RAMP = np.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1)
LAYOUTS = list(itertools.product((False, True), (RAW, LZW, DEFLATE, PACKBITS)))


def difference(content, expected):
    """Return the largest difference between what is read and what is expected, 0 to 255."""
    seen = decode_image(content, (HEIGHT, WIDTH)).astype(float)
    return np.abs(seen - (expected if expected.ndim == 3 else expected[..., np.newaxis])).max()


@pytest.mark.parametrize(("is_big_endian", "compression"), LAYOUTS)
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16, 32])
def test_grey_of_every_depth(bits, photometric, is_big_endian, compression):
    largest = 2**bits - 1
    numbers = np.rint(RAMP * largest).astype(np.uint32 if bits > 16 else np.uint16)
    numbers = numbers.astype(np.uint8) if bits <= 8 else numbers
    expected = numbers / largest * 255
    content = make_tiff(
        numbers, bits, photometric, is_big_endian=is_big_endian, compression=compression
    )

    inverted = 255 - expected if photometric == WHITE_IS_ZERO else expected
    assert difference(content, inverted) < 1


@pytest.mark.parametrize(("is_big_endian", "compression"), LAYOUTS)
@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.float32])
def test_numbers_below_zero_are_stretched(kind, is_big_endian, compression):
    numbers = (RAMP * 200 - 90).astype(kind)
    lowest, highest = float(numbers.min()), float(numbers.max())
    expected = (numbers.astype(float) - lowest) / (highest - lowest) * 255
    content = make_tiff(
        numbers,
        8 * numbers.itemsize,
        BLACK_IS_ZERO,
        sample_format=FLOAT if kind is np.float32 else SIGNED,
        is_big_endian=is_big_endian,
        compression=compression,
    )

    assert difference(content, RAMP * 255 if kind is np.float32 else expected) < 1.5


@pytest.mark.parametrize(("is_big_endian", "compression"), LAYOUTS)
@pytest.mark.parametrize("extra", [None, 0, 1, 2])
@pytest.mark.parametrize("is_planar", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_colours_with_every_kind_of_opacity(bits, is_planar, extra, is_big_endian, compression):
    largest = 2**bits - 1
    kind = np.uint8 if bits == 8 else np.uint16
    opacity = RAMP.T.reshape(HEIGHT, WIDTH, 1)
    shown = COLOURS * 255
    numbers = np.rint(COLOURS * (opacity if extra == 1 else 1) * largest).astype(kind)
    if extra is not None:
        numbers = np.concatenate([numbers, np.rint(opacity * largest).astype(kind)], -1)
    if extra in (1, 2):
        shown = shown * opacity + 255 * (1 - opacity)
    content = make_tiff(
        numbers,
        bits,
        RGB,
        extra=() if extra is None else (extra,),
        is_planar=is_planar,
        is_big_endian=is_big_endian,
        compression=compression,
    )

    # Multiplied opacity is rounded twice.
    assert difference(content, shown) < (3 if extra == 1 else 1.6)


@pytest.mark.parametrize("compression", [RAW, LZW])
@pytest.mark.parametrize("is_planar", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_printers_inks(bits, is_planar, compression):
    kind = np.uint8 if bits == 8 else np.uint16
    inks = np.concatenate([1 - COLOURS, np.zeros((HEIGHT, WIDTH, 1))], -1)
    numbers = np.rint(inks * (2**bits - 1)).astype(kind)

    content = make_tiff(numbers, bits, CMYK, is_planar=is_planar, compression=compression)
    assert difference(content, COLOURS * 255) < 1.6


@pytest.mark.parametrize("compression", [RAW, LZW])
@pytest.mark.parametrize("scale", [257, 1])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_of_16_bits_and_of_8(bits, scale, compression):
    rng = np.random.default_rng(bits)
    indices = rng.integers(0, 2**bits, (HEIGHT, WIDTH)).astype(np.uint8)
    colours = rng.integers(100, 256, (3, 2**bits))
    tags = {320: tuple(int(part) * scale for part in colours.ravel())}

    content = make_tiff(indices, bits, PALETTE, compression=compression, tags=tags)
    assert difference(content, colours.T[indices].astype(float)) == 0


@pytest.mark.parametrize("extra", [1, 2])
def test_grey_with_opacity(extra):
    opacity = RAMP.T.reshape(HEIGHT, WIDTH)
    grey = RAMP * (opacity if extra == 1 else 1)
    numbers = np.rint(np.stack([grey, opacity], -1) * 255).astype(np.uint8)

    content = make_tiff(numbers, 8, BLACK_IS_ZERO, extra=(extra,))
    assert difference(content, 255 * (RAMP * opacity + 1 - opacity)) < 2.5


DEPTHS = [
    *((bits, UNSIGNED, np.uint32 if bits > 16 else np.uint16) for bits in (1, 2, 4, 12, 16, 32)),
    (8, UNSIGNED, np.uint8), (8, SIGNED, np.int8), (16, SIGNED, np.int16), (32, SIGNED, np.int32),
    (16, FLOAT, np.float16), (32, FLOAT, np.float32), (64, FLOAT, np.float64),
]  # fmt: skip
# How a viewer turns it, by orientation: an independent table of what is shown where.
UPRIGHT = {
    1: lambda seen: seen, 2: np.fliplr, 3: lambda seen: np.rot90(seen, 2), 4: np.flipud,
    5: lambda seen: np.rot90(np.fliplr(seen)), 6: lambda seen: np.rot90(seen, -1),
    7: lambda seen: np.rot90(np.fliplr(seen), -1), 8: np.rot90,
}  # fmt: skip
WAYS = [
    way
    for way in itertools.product(
        (RAW, LZW, DEFLATE, PACKBITS), (1, 2, 3), (False, True), (False, True), range(1, 9)
    )
    if way[1] == 1 or way[0] in (LZW, DEFLATE)
]


@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK])
@pytest.mark.parametrize(("bits", "sample_format", "kind"), DEPTHS)
def test_every_depth_meaning_and_opacity_in_every_way_to_store_it(
    bits, sample_format, kind, photometric
):
    ways = iter(np.random.default_rng(bits + 100 * photometric).permutation(len(WAYS)))
    # What inks or white-is-zero multiplied by an opacity are, nobody says.
    extras = (None, 0, 1, 2) if photometric in (BLACK_IS_ZERO, RGB) else (None, 0, 2)
    for extra, is_planar in itertools.product(extras, (False, True)):
        numbers, expected = make_samples(bits, sample_format, kind, photometric, extra)
        predictors = {FLOAT: (1, 3)}.get(sample_format, (1, 2) if bits in (8, 16, 32) else (1,))
        way = next(WAYS[way] for way in ways if WAYS[way][1] in predictors)
        compression, predictor, is_big_endian, is_big, orientation = way
        content = make_tiff(
            numbers,
            bits,
            photometric,
            sample_format=sample_format,
            extra=() if extra is None else (extra,),
            is_planar=is_planar,
            is_big_endian=is_big_endian,
            compression=compression,
            orientation=orientation,
            predictor=predictor,
            is_big=is_big,
        )

        upright = UPRIGHT[orientation](expected)
        seen = decode_image(content, upright.shape[:2]).astype(float)
        assert np.abs(seen - upright).max() < 3, (extra, is_planar, way)


def make_samples(bits, sample_format, kind, photometric, extra):
    """Return the numbers of a picture, and what it shows (0 to 255)."""
    inks = np.concatenate([1 - COLOURS, np.zeros((HEIGHT, WIDTH, 1))], -1)
    shades = {RGB: COLOURS, CMYK: inks}.get(photometric, RAMP[..., np.newaxis])
    opacity = RAMP.T.reshape(HEIGHT, WIDTH, 1)
    if extra == 1:
        # No more than the opacity, or it would be no multiplied colour.
        shades = np.minimum(shades, opacity)
    largest = 1 if sample_format == FLOAT else 2 ** (bits - (sample_format == SIGNED)) - 1
    numbers = shades * largest
    if sample_format == SIGNED:
        # Stretched, so that the lowest and the highest must be there.
        numbers = shades * 1.5 * largest - largest
        shades = (shades - shades.min()) / (shades.max() - shades.min())
    numbers = numbers if sample_format == FLOAT else np.rint(numbers)
    if sample_format == UNSIGNED:
        shades = numbers / largest
    if extra is not None:
        whole = opacity * largest
        whole = whole if sample_format == FLOAT else np.rint(whole)
        numbers = np.concatenate([numbers, whole], -1)
        opacity = whole / largest
    shown = 1 - shades if photometric == WHITE_IS_ZERO else shades
    if photometric == CMYK:
        shown = (1 - shades[..., :3]) * (1 - shades[..., 3:])
    if extra == 1:
        shown = np.minimum(shown, opacity) + 1 - opacity
    if extra == 2:
        shown = shown * opacity + 1 - opacity
    return numbers.astype(kind), np.repeat(shown, 3 // shown.shape[2], axis=2) * 255


@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize("nothing", [-9999, -3.4e38, np.nan, np.inf, 7])
def test_where_there_is_nothing_it_is_white_and_no_shade(nothing, photometric):
    numbers = (RAMP * 50 + 100).astype(np.float32)
    numbers[3:5, 3:9] = nothing
    tags = {42113: "7"} if nothing == 7 else None
    expected = 255 * (RAMP if photometric == BLACK_IS_ZERO else 1 - RAMP)
    expected[3:5, 3:9] = 255

    content = make_tiff(numbers, 32, photometric, sample_format=FLOAT, tags=tags)
    assert difference(content, expected) < 1


def test_an_outlier_does_not_make_the_rest_one_shade():
    numbers = (RAMP * 50 + 100).astype(np.float32)
    numbers[5, 5], numbers[6, 6] = 1e6, -1e6
    expected = 255 * RAMP
    expected[5, 5], expected[6, 6] = 255, 0

    assert difference(make_tiff(numbers, 32, 1, sample_format=FLOAT), expected) < 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (make_tiff(RAMP, 64, 10, sample_format=FLOAT), "TIFF of floating-point 64-bit ITU Lab"),
        (make_tiff(COLOURS.astype(np.uint16), 16, 8), "TIFF of 16-bit Lab, 3 channels"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(30), "JPEG 2000 is not supported"),
        (b"\xff\x0a" + bytes(30), "JPEG XL is not supported"),
        (b"\0\0\0\x18ftypheic" + bytes(30), "HEIF is not supported"),
        (b"8BPS\0\1" + bytes(30), "Photoshop is not supported"),
        (b"<?xml version='1.0'?>\n<svg xmlns='x'/>", "SVG is not supported"),
        (b"%PDF-1.4\n" + bytes(30), "PDF is not supported"),
        (b"gimp xcf v011" + bytes(30), "GIMP is not supported"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(30), "raw camera is not supported"),
        (make_tiff(COLOURS, 64, 8, tags={50706: (1, 4, 0, 0)}), r"raw camera TIFF \(DNG\)"),
        (b"\0\0\0\x18ftypisom" + bytes(30), "not an image: it is an MP4 or QuickTime video"),
        (b"\0\0\0\x14ftypqt  " + bytes(30), "not an image: it is an MP4 or QuickTime video"),
        (b"RIFF" + bytes(4) + b"AVI LIST", "not an image: it is an AVI video"),
        (b"\x1a\x45\xdf\xa3" + bytes(30), "not an image: it is a Matroska or WebM video"),
        (b"PK\3\4" + bytes(30), "not an image: it is a ZIP archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer"),
        (b"<html>", "not an image: no known format"),
        (b"hello", "not an image: no known format"),
    ],
)
def test_a_kind_that_is_not_read_is_named(content, reason):
    with pytest.raises(ImageError, match=reason):
        decode_image(content, (8, 8))


def make_png(numbers, bits, kind, transparency):
    rows = np.atleast_3d(numbers).reshape(len(numbers), -1).astype(np.int64)
    each = (rows[..., np.newaxis] >> np.arange(bits - 1, -1, -1)) & 1
    packed = np.packbits(each.reshape(len(rows), -1).astype(np.uint8), axis=1)
    header = struct.pack(">IIBBBBB", len(numbers[0]), len(numbers), bits, kind, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))
    for name, part in (
        (b"IHDR", header), (b"tRNS", transparency), (b"IDAT", body), (b"IEND", b"")
    ):  # fmt: skip
        content += struct.pack(">I", len(part)) + name + part
        content += struct.pack(">I", zlib.crc32(name + part))
    return content


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_a_png_is_white_at_every_depth(bits):
    largest = 2**bits - 1
    numbers = np.rint(RAMP * largest).astype(int)
    transparent = largest // 2
    expected = np.where(numbers == transparent, 255, numbers / largest * 255)

    content = make_png(numbers, bits, 0, struct.pack(">H", transparent))
    assert difference(content, expected) < 1


def test_the_transparent_colour_of_a_16_bit_png_is_white():
    numbers = np.rint(COLOURS * 65535).astype(int)
    numbers[:5] = 30_000, 7, 65_535
    expected = numbers / 65535 * 255
    expected[:5] = 255

    content = make_png(numbers, 16, 2, struct.pack(">HHH", 30_000, 7, 65_535))
    assert difference(content, expected) < 1.5


@pytest.mark.parametrize("transparency", [b"\0", b"\0\0\0\0\0\0"])
def test_transparency_of_a_wrong_length_means_nothing(transparency):
    numbers = np.rint(RAMP * 15).astype(int)

    assert difference(make_png(numbers, 4, 0, transparency), numbers / 15 * 255) < 1


@pytest.mark.parametrize("largest", [100, 4095, 65535])
@pytest.mark.parametrize("channels", [1, 3])
def test_netpbm_with_any_largest_value(channels, largest):
    shades = RAMP if channels == 1 else COLOURS
    numbers = np.rint(shades * largest).astype(">u2" if largest > 255 else "u1")
    kind = b"P5" if channels == 1 else b"P6"
    content = kind + f"\n{WIDTH} {HEIGHT}\n{largest}\n".encode() + numbers.tobytes()

    assert difference(content, numbers / largest * 255) < 1
    with pytest.raises(ImageError):
        decode_image(content[:-9], (8, 8))
    text = " # a comment\n".join(map(str, numbers.ravel().tolist())).encode()
    start = (b"P2" if channels == 1 else b"P3") + f"\n{WIDTH} {HEIGHT}\n{largest}\n".encode()
    assert difference(start + text, numbers / largest * 255) < 1
    for wrong in (text[:-1].rsplit(b"\n", 1)[0], text + b"9" * 8, b"-1 " + text, b"x " + text):
        with pytest.raises(ImageError):
            decode_image(start + wrong, (8, 8))


@pytest.mark.parametrize("compression", [RAW, LZW, DEFLATE, PACKBITS])
@pytest.mark.parametrize("kind", ["grey", "colours", "64 bits", "planes"])
@pytest.mark.parametrize("harm", ["fewer strips", "a strip at 0", "cut off", "tags cut off"])
def test_a_tiff_without_some_of_its_data_is_refused_with_the_reason(compression, kind, harm):
    numbers = (RAMP if kind in ("grey", "64 bits") else COLOURS) * 255
    numbers = numbers.astype(np.float64 if kind == "64 bits" else np.uint8)
    bits, photometric = 8 * numbers.itemsize, BLACK_IS_ZERO if numbers.ndim == 2 else RGB
    options = {"sample_format": FLOAT if kind == "64 bits" else UNSIGNED}
    options |= {"compression": compression, "is_planar": kind == "planes"}
    content = make_tiff(numbers, bits, photometric, **options)
    decode_image(content, (8, 8))
    directory = read_directory(content)
    starts, lengths = directory.numbers(273), directory.numbers(279)
    last = {"fewer strips": (), "a strip at 0": (0,), "cut off": (len(content) + 9999,)}.get(harm)
    if last is None:
        broken = content[:-40]
    else:
        sizes = lengths if harm == "cut off" else (*lengths[:-1], *last)
        tags = {273: Tag(4, (*starts[:-1], *last)), 279: Tag(4, sizes)}
        broken = write_directory(content, Directory("<", directory.tags | tags))

    with pytest.raises(ImageError, match="cannot be decoded"):
        decode_image(broken, (8, 8))


@pytest.mark.parametrize("is_big_endian", [False, True])
@pytest.mark.parametrize("is_big", [False, True])
def test_a_tag_without_a_value_is_no_tag(is_big, is_big_endian):
    content = make_tiff(
        RAMP, 64, 1, sample_format=FLOAT, is_big=is_big, is_big_endian=is_big_endian
    )
    order = ">" if is_big_endian else "<"
    rows_a_strip = struct.pack(f"{order}HH{'Q' if is_big else 'I'}", 278, 3, 1)
    assert content.count(rows_a_strip) == 1
    none = struct.pack(f"{order}HH{'Q' if is_big else 'I'}", 278, 3, 0)

    with pytest.raises(ImageError):
        decode_image(content.replace(rows_a_strip, none), (8, 8))
    name = struct.pack(f"{order}HH{'Q' if is_big else 'I'}", 274, 3, 1)
    none = struct.pack(f"{order}HH{'Q' if is_big else 'I'}", 274, 3, 0)
    assert difference(content.replace(name, none), RAMP * 255) < 1.5


def chunk(name, part, checksum=None):
    checksum = zlib.crc32(name + part) if checksum is None else checksum
    return struct.pack(">I", len(part)) + name + part + struct.pack(">I", checksum)


@pytest.mark.parametrize(
    "odd",
    [
        chunk(b"iCCP", b"name\0\5" + zlib.compress(b"x")),
        chunk(b"iCCP", b""),
        chunk(b"zTXt", b"key\0\7" + zlib.compress(b"x")),
        chunk(b"cHRM", b"short"),
        chunk(b"gAMA", b"s"),
        chunk(b"pHYs", b"short"),
        chunk(b"sRGB", b""),
        chunk(b"acTL", b"s"),
        chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", b"s"),
        chunk(b"cLLI", b"12345678", checksum=1),
        chunk(b"tEXt", b"key\0text", checksum=1),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_what_viewers_ignore_in_a_png_is_no_reason_to_refuse_it(odd, is_first):
    numbers = np.rint(RAMP * 255).astype(int)
    whole = make_png(numbers, 8, 0, struct.pack(">H", 0))
    # Turned by half, as the orientation in a good chunk says.
    turned = chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\3\0\0\0\0\0\0")
    content = whole[:33] + turned + whole[33:]
    at = 33 if is_first else len(content) - 12

    expected = np.rot90(np.where(numbers == 0, 255, numbers), 2)
    assert difference(content[:at] + odd + content[at:], expected) < 1


def test_texts_that_would_fill_the_memory_are_refused():
    content = make_png(np.rint(RAMP * 255).astype(int), 8, 0, struct.pack(">H", 0))
    bomb = chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(1 << 21)))
    with pytest.raises(ImageError, match="too large"):
        decode_image(content[:33] + bomb + content[33:], (8, 8))


def test_a_png_whose_pixels_are_cut_off_is_refused():
    content = make_png(np.rint(RAMP * 255).astype(int), 8, 0, struct.pack(">H", 0))
    with pytest.raises(ImageError, match="truncated"):
        decode_image(content[: len(content) // 2], (8, 8))
