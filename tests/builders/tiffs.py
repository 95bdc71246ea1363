"""TIFF files written by hand, of kinds that no library at hand writes."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

RAW, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32773
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK = 0, 1, 2, 3, 5
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
_SHORT, _LONG, _ASCII, _SIZES = 3, 4, 2, {2: 1, 3: 2, 4: 4}


def make_tiff(
    samples: NDArray[np.generic],
    bits: int,
    photometric: int,
    *,
    sample_format: int = UNSIGNED,
    extra: tuple[int, ...] = (),
    is_planar: bool = False,
    is_big_endian: bool = False,
    compression: int = RAW,
    orientation: int = 1,
    predictor: int = 1,
    is_big: bool = False,
    tags: dict[int, tuple[int, ...] | str] | None = None,
) -> bytes:
    """Return a TIFF of two strips a plane.

    Args:
        samples: Shape (height, width) or (height, width, channels), the values as stored.
        predictor: 2 stores differences of samples; 3 those of bytes, for floating point.
        is_big: Write a BigTIFF.
        tags: Further tags; SHORT, or ASCII for text.
    """
    order = ">" if is_big_endian else "<"
    planes = np.atleast_3d(samples)
    height, width, channels = planes.shape
    rows = -(-height // 2)
    layers = [planes[..., k : k + 1] for k in range(channels)] if is_planar else [planes]
    strips = [
        _compressed(_packed(layer[first : first + rows], bits, order, predictor), compression)
        for layer in layers
        for first in range(0, height, rows)
    ]
    header = 16 if is_big else 8
    starts = [header + sum(map(len, strips[:n])) for n in range(len(strips))]
    entries: dict[int, tuple[int, ...] | str] = {
        256: (width,), 257: (height,), 258: (bits,) * channels, 259: (compression,),
        262: (photometric,), 273: tuple(starts), 274: (orientation,), 277: (channels,),
        278: (rows,), 279: tuple(map(len, strips)), 284: (2 if is_planar else 1,),
        317: (predictor,), 339: (sample_format,) * channels, **({338: extra} if extra else {}),
        **(tags or {}),
    }  # fmt: skip
    body = b"".join(strips)
    body += b"\0" * (len(body) % 2)
    start = b"MM" if is_big_endian else b"II"
    if is_big:
        start += struct.pack(order + "HHHQ", 43, 8, 0, header + len(body))
    else:
        start += struct.pack(order + "HI", 42, header + len(body))
    return start + body + _directory(entries, header + len(body), order, is_big)


def _packed(rows: NDArray[np.generic], bits: int, order: str, predictor: int) -> bytes:
    if predictor == 2:
        before = np.concatenate([np.zeros_like(rows[:, :1]), rows[:, :-1]], axis=1)
        rows = rows - before
    if predictor == 3:
        whole = np.frombuffer(_packed(rows, bits, ">", 1), np.uint8)
        places = whole.reshape(len(rows), -1, rows.itemsize).swapaxes(1, 2)
        pixels = places.reshape(len(rows), -1, rows.shape[2])
        return bytes(np.diff(pixels, axis=1, prepend=np.uint8(0)))
    if bits % 8 == 0:
        return rows.astype(rows.dtype.newbyteorder(order)).tobytes()
    flat = rows.reshape(len(rows), -1).astype(np.int64)
    each = (flat[..., np.newaxis] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(each.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def _compressed(content: bytes, compression: int) -> bytes:
    if compression == DEFLATE:
        return zlib.compress(content)
    if compression == PACKBITS:
        pieces = (content[n : n + 128] for n in range(0, len(content), 128))
        return b"".join(bytes((len(piece) - 1,)) + piece for piece in pieces)
    if compression == LZW:
        bits = "".join(f"{code:09b}" for code in _lzw_codes(content))
        bits += "0" * (-len(bits) % 8)
        return int(bits, 2).to_bytes(len(bits) // 8, "big")
    return content


def _lzw_codes(content: bytes) -> Iterator[int]:
    # Cleared so often that no code ever needs more than nine bits, or means more than a byte.
    for n, value in enumerate(content):
        if n % 200 == 0:
            yield 256
        yield value
    yield 257


def _directory(
    entries: dict[int, tuple[int, ...] | str], at: int, order: str, is_big: bool
) -> bytes:
    word, number = ("Q", "Q") if is_big else ("I", "H")
    room = struct.calcsize("=" + word)
    after = at + struct.calcsize("=" + number) + (4 + 2 * room) * len(entries) + room
    rows, behind = b"", b""
    for tag, values in sorted(entries.items()):
        if isinstance(values, str):
            kind, count, packed = _ASCII, len(values) + 1, values.encode() + b"\0"
        else:
            kind = _SHORT if max(values) < 65536 else _LONG
            count = len(values)
            packed = struct.pack(f"{order}{count}{'H' if kind == _SHORT else 'I'}", *values)
        assert len(packed) == _SIZES[kind] * count
        if len(packed) > room:
            rows += struct.pack(f"{order}HH{word}{word}", tag, kind, count, after + len(behind))
            behind += packed + b"\0" * (len(packed) % 2)
        else:
            rows += struct.pack(f"{order}HH{word}", tag, kind, count) + packed.ljust(room, b"\0")
    return struct.pack(order + number, len(entries)) + rows + b"\0" * room + behind
