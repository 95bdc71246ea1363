"""Decoding of image files inside a TensorFlow graph, for a SavedModel that takes files.

As close to `workers.images.loading` as TensorFlow's operations allow: JPEG (CMYK too), PNG, GIF
and BMP; rotated upright by the EXIF orientation of a JPEG; transparency on white.
"""

from typing import Any

_ORIENTATION_TAG = 0x0112
# EXIF comes first in a JPEG, and is no longer than this.
_EXIF_BYTES = 1 << 16


def decode_images(contents: Any, input_size: tuple[int, int]) -> Any:
    """Return RGB pixels (float32, 0 to 255, shape (n, height, width, 3)) of image files.

    Args:
        contents: Tensor of strings, shape (n,).
    """
    import tensorflow as tf

    def decode(content: Any) -> Any:
        image = tf.cast(_rotate_upright(_decode(content), _orientation(content)), tf.float32)
        return tf.round(tf.clip_by_value(_resize(image, input_size), 0, 255))

    shape = tf.TensorSpec((*input_size, 3), tf.float32)
    return tf.map_fn(decode, contents, fn_output_signature=shape)


def _resize(image: Any, input_size: tuple[int, int]) -> Any:
    # As in `workers.images.resizing`: what shrinks to less than a third is averaged first.
    import tensorflow as tf

    size = tf.shape(image)[:2]
    fewer = tf.where(size > 3 * tf.constant(input_size), input_size, size)
    averaged = tf.cond(
        tf.reduce_all(tf.equal(fewer, size)),
        lambda: image,
        lambda: tf.image.resize(image, fewer, "area"),
    )
    return tf.image.resize(averaged, input_size, "bilinear")


def _decode(content: Any) -> Any:
    import tensorflow as tf

    def decode_png() -> Any:
        image = tf.cast(tf.io.decode_png(content, channels=4), tf.float32)
        opacity = image[..., 3:] / 255
        return tf.cast(tf.round(image[..., :3] * opacity + 255 * (1 - opacity)), tf.uint8)

    def decode_other() -> Any:
        return tf.io.decode_image(content, channels=3, expand_animations=False)

    is_png = tf.equal(tf.strings.substr(content, 0, 4), b"\x89PNG")
    return tf.cond(
        tf.io.is_jpeg(content),
        # The exact method, as Pillow uses.
        lambda: tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.cond(is_png, decode_png, decode_other),
    )


def _orientation(content: Any) -> Any:
    """Return the EXIF orientation of a JPEG, 1 to 8; 1 where there is none."""
    import tensorflow as tf

    start = tf.strings.substr(content, 0, _EXIF_BYTES)
    values = tf.cast(tf.io.decode_raw(start, tf.uint8), tf.int32)
    size = tf.size(values)
    # A damaged file may point beyond its end.
    values = tf.concat([values, tf.zeros(16, tf.int32)], 0)
    mark = [values[i : size + i] for i in range(6)]
    is_mark = tf.reduce_all(
        tf.stack([tf.equal(part, byte) for part, byte in zip(mark, b"Exif\0\0", strict=True)]), 0
    )
    found = tf.where(is_mark)[:, 0]
    header = tf.cond(
        tf.size(found) > 0, lambda: tf.cast(found[0], tf.int32) + 6, lambda: tf.constant(0)
    )
    is_little = tf.equal(values[header], ord("I"))

    def read(positions: Any, length: int) -> Any:
        positions = tf.clip_by_value(positions, 0, size)
        parts = [tf.gather(values, positions + i) for i in range(length)]
        little = sum(part * 256**i for i, part in enumerate(parts))
        big = sum(part * 256**i for i, part in enumerate(reversed(parts)))
        return tf.where(is_little, little, big)

    # The upper half of the offset is 0, since the EXIF block is at most 64 KiB.
    offset = tf.where(is_little, header + 4, header + 6)
    table = header + read(offset, 2)
    entries = table + 2 + 12 * tf.range(tf.minimum(read(table, 2), 512))
    is_orientation = tf.equal(read(entries, 2), _ORIENTATION_TAG)
    orientations = tf.boolean_mask(read(entries + 8, 2), is_orientation)
    first = tf.concat([orientations, [1]], 0)[0]
    is_known = (tf.size(found) > 0) & tf.io.is_jpeg(content) & (first >= 1) & (first <= 8)
    return tf.where(is_known, first, 1)


def _rotate_upright(image: Any, orientation: Any) -> Any:
    import tensorflow as tf

    rotated = {
        1: lambda: image,
        2: lambda: image[:, ::-1],
        3: lambda: image[::-1, ::-1],
        4: lambda: image[::-1],
        5: lambda: tf.transpose(image, (1, 0, 2)),
        6: lambda: tf.transpose(image, (1, 0, 2))[:, ::-1],
        7: lambda: tf.transpose(image, (1, 0, 2))[::-1, ::-1],
        8: lambda: tf.transpose(image, (1, 0, 2))[::-1],
    }
    return tf.switch_case(orientation - 1, [rotated[number] for number in sorted(rotated)])
