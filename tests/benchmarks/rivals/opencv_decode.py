"""How an expert in a hurry reads a photograph: OpenCV decodes and resizes it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.material import SIZE

cv2.setNumThreads(0)


def read_pixels(path: str) -> NDArray[np.uint8]:
    """Return RGB pixels of shape (224, 224, 3), upright."""
    pixels = cv2.imread(path, cv2.IMREAD_COLOR_RGB)
    return np.asarray(cv2.resize(pixels, (SIZE, SIZE)), np.uint8)
