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

    parts = tf.strings.split(tf.strings.substr(content, 0, _EXIF_BYTES), "Exif\0\0", maxsplit=1)
    values = tf.cast(tf.io.decode_raw(tf.concat([parts, [""]], 0)[1], tf.uint8), tf.int32)
    size = tf.size(values)
    # A damaged file may point beyond its end.
    values = tf.concat([values, tf.zeros(16, tf.int32)], 0)
    is_little = tf.equal(values[0], ord("I"))

    def read(positions: Any) -> Any:
        positions = tf.clip_by_value(positions, 0, size)
        first, second = tf.gather(values, positions), tf.gather(values, positions + 1)
        return tf.where(is_little, first + 256 * second, 256 * first + second)

    # The upper half of the offset is 0, since the EXIF block is at most 64 KiB.
    table = read(tf.where(is_little, 4, 6))
    entries = table + 2 + 12 * tf.range(tf.minimum(read(table), 512))
    is_orientation = tf.equal(read(entries), _ORIENTATION_TAG)
    orientations = tf.boolean_mask(read(entries + 8), is_orientation)
    first = tf.concat([orientations, [1]], 0)[0]
    is_known = tf.io.is_jpeg(content) & (first >= 1) & (first <= 8)
    return tf.where(is_known, first, 1)


def _rotate_upright(image: Any, orientation: Any) -> Any:
    import tensorflow as tf

    # For each of EXIF's orientations, 1 to 8.
    rotated = [
        lambda: image,
        lambda: image[:, ::-1],
        lambda: image[::-1, ::-1],
        lambda: image[::-1],
        lambda: tf.transpose(image, (1, 0, 2)),
        lambda: tf.transpose(image, (1, 0, 2))[:, ::-1],
        lambda: tf.transpose(image, (1, 0, 2))[::-1, ::-1],
        lambda: tf.transpose(image, (1, 0, 2))[::-1],
    ]
    return tf.switch_case(orientation - 1, rotated)
