"""Write the network in every rival's format, and the bottlenecks that poets computes.

Run as a program of its own: ``python -m tests.benchmarks.prepare MATERIAL``.
"""

import contextlib
import sys
from typing import Any

import numpy as np

from tests.benchmarks.material import ARCHITECTURE, SIZE, Material, build_keras, open_material
from tests.benchmarks.network import Layer, compute_in_tensorflow, fold_network, save_layers
from workers.backbones.convert import convert_backbone
from workers.backbones.litert import LiteRTBackbone
from workers.backbones.table import BackboneKey
from workers.bottlenecks.computing import compute_results
from workers.bottlenecks.requests import Request
from workers.exports.frozen_graph import write_frozen_graph


def prepare(material: Material) -> None:
    key = BackboneKey(ARCHITECTURE, material.weights, material.backbone_id)
    convert_backbone(material.storage, key, lambda: None)
    model: Any = build_keras(material)
    write_frozen_graph(model, material.frozen_graph, "bottleneck")
    layers = fold_network(model)
    save_layers(material.layers, layers)
    # Without tf2onnx there is no file, and the row of ONNX Runtime says so.
    with contextlib.suppress(ImportError):
        _write_onnx(material, layers)
    backbone = LiteRTBackbone(material.backbone)
    requests = [Request(path) for path in material.paths()]
    results = list(compute_results(requests, backbone, lambda: None))
    for request, result in zip(requests, results, strict=True):
        if result.error:
            sys.exit(f"{request.path}: {result.error}; take it out of the benchmark")
    np.save(material.bottlenecks, np.array([result.bottleneck for result in results]))


def _write_onnx(material: Material, layers: list[Layer]) -> None:
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((None, SIZE, SIZE, 3), tf.uint8, name="pixels")]
    traced = tf.function(
        lambda pixels: compute_in_tensorflow(layers, pixels), input_signature=signature
    )
    tf2onnx.convert.from_function(traced, signature, opset=17, output_path=str(material.onnx))


if __name__ == "__main__":
    prepare(open_material(sys.argv[1]))
