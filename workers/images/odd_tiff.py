"""TIFFs of kinds that Pillow does not know: libtiff unpacks the bytes, NumPy reads the numbers.

To libtiff each plane is shown as a grey picture of 8 bits that is as many times wider as a pixel
has bytes, so every compression that it knows works for every depth, order and number of channels.
"""

import io
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import TiffImageFile

from workers.images.tiff_tags import Directory, Tag, read_directory, write_directory

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIPS, _ORIENTATION, _SAMPLES, _ROWS_A_STRIP, _STRIP_BYTES, _PLANES = 273, 274, 277, 278, 279, 284
_PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 317, 322, 323, 324, 325
_EXTRA, _SAMPLE_FORMAT, _NODATA = 338, 339, 42113
_LONG = 4
# None, LZW, Deflate (two numbers), PackBits, LZMA and Zstandard: they unpack to bytes.
_COMPRESSIONS = frozenset({1, 5, 8, 32946, 32773, 34925, 50000})
_KINDS = {1: "u", 2: "i", 3: "f"}
# Channels of grey (0 is white, or black), RGB and printers' inks.
COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}
# A few copies of them are made, some with four bytes a number.
_MOST_BYTES = 1 << 29


class Samples(NamedTuple):
    """The numbers of a TIFF.

    Attributes:
        values: Shape (height, width, channels), of the type that the file has.
        bits: Of a sample in the file.
        photometric: A key of `COLOURS`; its channels come first.
        has_opacity: The channel after them says how opaque each pixel is ...
        is_multiplied: ... and they are multiplied by it.
        nodata: The value of pixels that hold nothing, as the file says it.
    """

    values: NDArray[Any]
    bits: int
    photometric: int
    orientation: int
    has_opacity: bool = False
    is_multiplied: bool = False
    nodata: bytes = b""


def read_samples(content: bytes) -> Samples | None:
    """Return the numbers of a TIFF, or None of a kind that is not read.

    Raises:
        OSError and more, as Pillow: When the data is damaged.
    """
    directory = read_directory(content)
    layout = _read_layout(directory) if directory else None
    if directory is None or layout is None:
        return None
    planes = [_read_plane(content, directory, layout, n) for n in range(layout.planes)]
    extra = directory.number(_EXTRA, 0) if layout.channels > COLOURS[layout.photometric] else 0
    nodata = directory.tags.get(_NODATA, Tag(2, (b"",))).values[0]
    return Samples(
        planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2),
        layout.bits,
        layout.photometric,
        directory.number(_ORIENTATION, 1),
        has_opacity=extra in (1, 2),
        is_multiplied=extra == 1,
        nodata=nodata if isinstance(nodata, bytes) else b"",
    )


class _Layout(NamedTuple):
    """How the numbers lie; `planes` is 1 where those of a pixel are together."""

    width: int
    height: int
    bits: int
    kind: str
    channels: int
    planes: int
    photometric: int
    predictor: int
    # That of a picture without tiles is its own.
    tile_width: int

    @property
    def together(self) -> int:
        """Channels in a plane."""
        return self.channels // self.planes

    @property
    def across(self) -> int:
        """Tiles beside each other."""
        return -(-self.width // self.tile_width)

    @property
    def row_bytes(self) -> int:
        """Of a row of a tile, with what lies beyond the picture: they belong together."""
        return -(-self.tile_width * self.together * self.bits // 8)

    @property
    def is_known(self) -> bool:
        if min(self.width, self.height, self.channels, self.tile_width, self.bits) < 1:
            return False
        if self.channels < COLOURS.get(self.photometric, 1 << 16):
            return False
        if self.width * self.height * self.channels * self.bits > 8 * _MOST_BYTES:
            return False
        if self.kind == "f":
            return self.bits in (16, 32, 64) and self.predictor in (1, 3)
        if self.bits in (8, 16, 32):
            return self.predictor in (1, 2)
        return self.kind == "u" and self.bits in (1, 2, 4, 12) and self.predictor == 1


def _read_layout(directory: Directory) -> _Layout | None:
    bits, formats = directory.numbers(_BITS, 1), directory.numbers(_SAMPLE_FORMAT, 1)
    if len(set(bits)) > 1 or len(set(formats)) > 1 or directory.number(_FILL_ORDER, 1) != 1:
        return None
    if directory.number(_COMPRESSION, 1) not in _COMPRESSIONS:
        return None
    width, channels = directory.number(_WIDTH, 0), directory.number(_SAMPLES, 1)
    layout = _Layout(
        width,
        directory.number(_HEIGHT, 0),
        bits[0],
        _KINDS.get(formats[0], ""),
        channels,
        channels if directory.number(_PLANES, 1) == 2 else 1,
        directory.number(_PHOTOMETRIC, -1),
        directory.number(_PREDICTOR, 1),
        directory.number(_TILE_WIDTH, width),
    )
    return layout if layout.is_known else None


def _read_plane(content: bytes, directory: Directory, layout: _Layout, plane: int) -> NDArray[Any]:
    """Return the numbers of one plane, shape (height, width, channels in it)."""
    shown = write_directory(content, _as_grey_bytes(directory, layout, plane))
    with TiffImageFile(io.BytesIO(shown)) as image:
        rows = np.asarray(image).reshape(layout.height, layout.across, layout.row_bytes)
    if layout.bits % 8:
        values = _unpack_bits(rows, layout)
    else:
        if layout.predictor == 3:
            rows = _undo_differences_of_bytes(rows, layout)
        order = ">" if layout.predictor == 3 else directory.order
        kind = f"{layout.kind}{layout.bits // 8}"
        values = rows.view(order + kind).astype(f"={kind}")
    shape = layout.height, layout.across, layout.tile_width, layout.together
    values = values.reshape(shape)
    if layout.predictor == 2:
        values = np.cumsum(values, axis=2, dtype=values.dtype)
    return values.reshape(layout.height, -1, layout.together)[:, : layout.width]


def _as_grey_bytes(directory: Directory, layout: _Layout, plane: int) -> Directory:
    """Return tags by which one plane is a grey picture of 8 bits."""
    is_tiled = _TILES in directory.tags
    starts, lengths = (_TILES, _TILE_BYTES) if is_tiled else (_STRIPS, _STRIP_BYTES)
    count = len(directory.numbers(starts)) // layout.planes
    part = slice(plane * count, (plane + 1) * count)
    tags: dict[int, tuple[int, ...]] = {
        _WIDTH: (layout.row_bytes * layout.across,),
        _HEIGHT: (layout.height,),
        _BITS: (8,),
        _COMPRESSION: (directory.number(_COMPRESSION, 1),),
        _PHOTOMETRIC: (1,),
        _SAMPLES: (1,),
        starts: directory.numbers(starts)[part],
        lengths: directory.numbers(lengths)[part],
    }
    if is_tiled:
        tags |= {_TILE_WIDTH: (layout.row_bytes,), _TILE_HEIGHT: directory.numbers(_TILE_HEIGHT)}
    else:
        rows = directory.number(_ROWS_A_STRIP, layout.height)
        tags[_ROWS_A_STRIP] = (min(rows, layout.height),)
    if not all(tags.values()):
        raise OSError("it has no data")
    return Directory(directory.order, {tag: Tag(_LONG, values) for tag, values in tags.items()})


def _unpack_bits(rows: NDArray[np.uint8], layout: _Layout) -> NDArray[Any]:
    count = layout.tile_width * layout.together
    each = np.unpackbits(rows, axis=-1)[..., : count * layout.bits]
    places = (1 << np.arange(layout.bits - 1, -1, -1)).astype(np.uint16)
    values: NDArray[Any] = each.reshape(*rows.shape[:-1], count, layout.bits) @ places
    return values


def _undo_differences_of_bytes(rows: NDArray[np.uint8], layout: _Layout) -> NDArray[np.uint8]:
    """Return rows of big-endian numbers; Adobe's third technical note has what they were."""
    each = rows.reshape(*rows.shape[:-1], -1, layout.together)
    each = np.cumsum(each, axis=-2, dtype=np.uint8)
    places = each.reshape(*rows.shape[:-1], layout.bits // 8, -1)
    return np.ascontiguousarray(places.swapaxes(-1, -2)).reshape(rows.shape)
