"""A trained model folder of a few kilobytes, which tells colours apart."""

import hashlib
from pathlib import Path

import numpy as np

from tests.builders.backbones import TINY_FILE, TINY_ID, TINY_SPEC, TINY_WEIGHTS
from workers.backbones.litert import LiteRTBackbone
from workers.heads.head import Head
from workers.heads.model_folder import ModelCard, Preprocessing, save_model


def save_tiny_model(
    folder: Path, colours: dict[str, tuple[int, int, int]], activation: str = "softmax"
) -> Path:
    """Write a model folder on the tiny backbone, whose labels are names of colours."""
    pixels = np.empty((len(colours), *TINY_SPEC.input_size, 3), np.uint8)
    pixels[:] = np.array(list(colours.values()))[:, np.newaxis, np.newaxis]
    centres = LiteRTBackbone(TINY_FILE).compute(pixels)
    # The label of the nearest centre, as a linear head.
    weights, bias = centres.T, -(centres**2).sum(axis=1) / 2
    card = ModelCard(
        name="colours", created="2026-01-01", architecture=TINY_SPEC.name, backbone_id=TINY_ID,
        weights=TINY_WEIGHTS, backbone_sha256=hashlib.sha256(TINY_FILE.read_bytes()).hexdigest(),
        preprocessing=Preprocessing(TINY_SPEC.input_size, TINY_SPEC.preprocessing),
        bottleneck_size=TINY_SPEC.bottleneck_size, labels=tuple(colours), counts={}, metrics={},
        training={}, activation=activation, versions={},
    )  # fmt: skip
    save_model(folder, card, Head(weights, bias, activation), TINY_FILE, {})
    return folder
