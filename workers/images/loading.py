"""One image file becomes the pixels that a backbone sees; the same way everywhere.

Bottlenecks, classification, evaluation and export checks all go through `OpenImage`, so
an image can never be prepared in two ways.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.errors import ImageError
from workers.images.decoding import UncertainError, decode_picture, make_thumbnail
from workers.images.distortions import PLAIN, Draw
from workers.images.files import read_image_file
from workers.images.resizing import Picture, cut_pixels


def digest_content(content: bytes) -> bytes:
    """Return the identity of a file's content: its SHA-256, 32 bytes."""
    return hashlib.sha256(content).digest()


class Steps(NamedTuple):
    """The steps of one image in their order; `poets bench` passes timed ones."""

    read: Callable[[str, tuple[int, int] | None], bytes] = read_image_file
    digest: Callable[[bytes], bytes] = digest_content
    decode: Callable[[bytes, tuple[int, int]], Picture] = decode_picture
    cut: Callable[[Picture, tuple[int, int], Draw], NDArray[np.uint8]] = cut_pixels


STEPS = Steps()


class ContentError(ImageError):
    """The content itself is at fault, so the failure repeats and may be cached.

    Attributes:
        digest: SHA-256 of the file, 32 bytes.
    """

    def __init__(self, message: str, digest: bytes) -> None:
        super().__init__(message)
        self.digest = digest


class OpenImage:
    """One file, read and decoded once, for the image itself and any of its variants.

    Attributes:
        digest: SHA-256 of the file, 32 bytes.
        warning: See `Picture`.
    """

    def __init__(
        self,
        path: str,
        input_size: tuple[int, int],
        expected: tuple[int, int] | None = None,
        steps: Steps = STEPS,
    ) -> None:
        """Read, check and decode one image.

        Args:
            path: A regular file; links, devices and pipes are not opened.
            input_size: Height and width in pixels; the aspect ratio is not kept, as in the
                codelab.
            expected: Size in bytes and modification time in nanoseconds that were planned.

        Raises:
            ContentError: When the content is no image that can be decoded.
            ImageError: When the file is gone, changed, or cannot be read.
            StorageError: When the machine or the mount fails, which is no fault of the image.
        """
        content = steps.read(path, expected)
        self.digest = steps.digest(content)
        self._input_size = input_size
        self._steps = steps
        with _content_errors(self.digest):
            self._picture = steps.decode(content, input_size)
        self.warning = self._picture.warning

    def cut(self, draw: Draw = PLAIN) -> NDArray[np.uint8]:
        """Return upright pixels (uint8, RGB, shape (height, width, 3)), distorted as drawn."""
        with _content_errors(self.digest):
            return self._steps.cut(self._picture, self._input_size, draw)


@contextlib.contextmanager
def _content_errors(digest: bytes) -> Iterator[None]:
    try:
        yield
    except UncertainError:
        raise
    except ImageError as error:
        raise ContentError(str(error), digest) from error
    except MemoryError as error:
        # On a larger machine it may succeed, so it says nothing about the content.
        raise ImageError("cannot be decoded: needs more memory than there is") from error


def load_thumbnail(
    path: str, height: int, widest: int, expected: tuple[int, int] | None = None
) -> bytes:
    """Return a small JPEG of an image file; see `make_thumbnail` and `OpenImage`."""
    return make_thumbnail(read_image_file(path, expected), height, widest)
