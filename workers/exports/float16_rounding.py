"""A LiteRT file with its large kernels in half precision, rounded so that the errors cancel.

TensorFlow's float16 rounds every number to the nearest, and most of the harm comes from biases and
depthwise kernels, 4 % of MobileNet's numbers. Those stay in 32 bits here. In the other kernels
each number makes up for the rounding errors before it, on inputs like those of photographs (GPTQ:
Frantar et al. 2023, arXiv:2210.17323).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Share of the kernels' numbers, in the smallest kernels, that stays in 32 bits: the first layers,
# whose errors go through all others.
_KEPT = 0.05
# Added to the diagonal of the moments, relative to its mean, since some inputs are always zero.
_DAMPING = 1e-4
_BLOCK = 64
# About this many photographs are measured; 200 were no better.
_MEASURED = 32


def halve_kernels(content: bytes, photographs: NDArray[np.uint8]) -> bytes:
    """Return a float32 LiteRT model with 16-bit kernels; it still computes in 32 bits.

    Args:
        photographs: Training images, RGB, (n, height, width, 3). Without any, each number is
            rounded to the nearest.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    graph = model.subgraphs[0]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = 3  # the first version that takes 16-bit floats
    model.operatorCodes.append(code)
    kernels = _choose_kernels(model)
    moments = _measure_moments(content, set(kernels.values()), photographs)
    for kernel, source in kernels.items():
        tensor, half, operator = graph.tensors[kernel], schema.TensorT(), schema.OperatorT()
        numbers = model.buffers[tensor.buffer].data.view(np.float32)
        rows = numbers.reshape(-1, tensor.shape[-1])
        moment = moments.get(source, np.eye(rows.shape[1]))
        model.buffers[tensor.buffer].data = round_to_halves(rows, moment).view(np.uint8).ravel()
        half.name, half.shape = tensor.name + b"/half", tensor.shape
        half.type = schema.TensorType.FLOAT16
        half.buffer, tensor.buffer = tensor.buffer, 0
        operator.inputs, operator.outputs = [len(graph.tensors)], [kernel]
        operator.opcodeIndex = len(model.operatorCodes) - 1
        graph.tensors.append(half)
        graph.operators.insert(0, operator)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _choose_kernels(model: Any) -> dict[int, int]:
    """Return the tensor of each kernel to halve, with the tensor of its layer's input."""
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator

    graph = model.subgraphs[0]
    found = {}
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        if code in (BuiltinOperator.CONV_2D, BuiltinOperator.FULLY_CONNECTED):
            source, kernel = operator.inputs[:2]
            if model.buffers[graph.tensors[kernel].buffer].data is not None:
                found[int(kernel)] = int(source)
    sizes = {kernel: int(np.prod(graph.tensors[kernel].shape)) for kernel in found}
    smallest_first = sorted(found, key=sizes.__getitem__)
    so_far = np.cumsum([sizes[kernel] for kernel in smallest_first])
    n_kept = int(np.sum(so_far <= _KEPT * so_far[-1]))
    return {kernel: found[kernel] for kernel in smallest_first[n_kept:]}


def _measure_moments(
    content: bytes, tensors: set[int], photographs: NDArray[np.uint8]
) -> dict[int, NDArray[np.float64]]:
    """Return the second moments of each tensor's channels, shape (channels, channels)."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # The faster kernels hide the tensors between the layers.
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    moments: dict[int, Any] = dict.fromkeys(tensors, 0)
    for photograph in photographs[:: max(1, len(photographs) // _MEASURED)]:
        interpreter.set_tensor(source["index"], photograph[np.newaxis].astype(np.float32))
        interpreter.invoke()
        for tensor in tensors:
            values = interpreter.get_tensor(tensor)
            rows = values.reshape(-1, values.shape[-1])
            moments[tensor] = moments[tensor] + (rows.T @ rows).astype(np.float64) / len(rows)
    return moments if len(photographs) else {}


def round_to_halves(
    kernel: NDArray[np.float32], moments: NDArray[np.float64]
) -> NDArray[np.float16]:
    """Return the kernel in 16 bits, so that its products with its inputs change little.

    Each number is rounded to the nearest, and the numbers that are not rounded yet make up for
    the change. A kernel larger than 1 x 1 is treated as several kernels of 1 x 1.

    Args:
        kernel: (n, inputs).
        moments: Second moments of the inputs, (inputs, inputs).
    """
    mean = np.trace(moments) / len(moments) or 1.0
    # The inputs that count most come first, while most numbers are left to make up for them.
    order = np.argsort(-np.diag(moments), kind="stable")
    damped = moments[np.ix_(order, order)] + _DAMPING * mean * np.eye(len(moments))
    share = np.linalg.cholesky(np.linalg.inv(damped)).T
    rest = kernel.T[order].astype(np.float64)
    halves = np.empty(rest.shape, np.float16)
    errors = np.empty_like(rest)
    # In blocks: one product of matrices is many times faster than several of vectors.
    for start in range(0, len(rest), _BLOCK):
        end = min(start + _BLOCK, len(rest))
        for i in range(start, end):
            halves[order[i]] = rest[i]
            errors[i] = (rest[i] - halves[order[i]]) / share[i, i]
            rest[i + 1 : end] -= np.outer(share[i, i + 1 : end], errors[i])
        rest[end:] -= share[start:end, end:].T @ errors[start:end]
    return np.ascontiguousarray(halves.T)
