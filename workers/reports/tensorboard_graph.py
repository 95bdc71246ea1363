"""The graph of a fit that TensorBoard draws, with the names of the codelab's retrain.py.

The backbone is one node: its bottlenecks were computed before, and the trainer never loads it.
"""

from collections.abc import Sequence

from tensorboard.compat.proto.graph_pb2 import GraphDef

from workers.heads.head import Examples

_SCOPE = "final_training_ops"
_FLOAT = 1  # DT_FLOAT


def draw_graph(architecture: str, solver: str, training: Examples) -> bytes:
    """Return a serialised GraphDef, to be looked at only."""
    several = training.labels.ndim == 2
    n_labels = training.labels.shape[1] if several else int(training.labels.max()) + 1
    width = training.bottlenecks.shape[1]
    activation = "Sigmoid" if several else "Softmax"
    bottleneck, truth = "input/BottleneckInputPlaceholder", "input/GroundTruthInput"
    weights, biases = f"{_SCOPE}/weights/final_weights", f"{_SCOPE}/biases/final_biases"
    product, logits = f"{_SCOPE}/Wx_plus_b/MatMul", f"{_SCOPE}/Wx_plus_b/add"
    losses = f"cross_entropy/{activation}CrossEntropyWithLogits"
    prediction, given = "accuracy/correct_prediction/ArgMax", "accuracy/correct_prediction/ArgMax_1"
    equal = "accuracy/correct_prediction/Equal"
    optimizer = "GradientDescent" if solver == "sgd" else solver.upper()
    graph = GraphDef()

    def add(name: str, operation: str, inputs: Sequence[str] = (), *shape: int) -> None:
        node = graph.node.add(name=name, op=operation, input=inputs)
        node.attr["T"].type = _FLOAT
        if shape:
            shown = node.attr["_output_shapes"].list.shape.add()
            for size in shape:
                shown.dim.add(size=size)

    add("input", "Placeholder")
    add(architecture, "Backbone", ["input"], -1, width)
    add(bottleneck, "PlaceholderWithDefault", [architecture], -1, width)
    add(truth, "Placeholder", [], -1, n_labels)
    add(weights, "VariableV2", [], width, n_labels)
    add(biases, "VariableV2", [], n_labels)
    add(product, "MatMul", [bottleneck, weights], -1, n_labels)
    add(logits, "Add", [product, biases], -1, n_labels)
    add("final_result", activation, [logits], -1, n_labels)
    add(losses, losses.split("/")[1], [logits, truth], -1)
    add("cross_entropy/total/Mean", "Mean", [losses])
    add(f"train/{optimizer}", optimizer, ["cross_entropy/total/Mean", weights, biases])
    add(prediction, "ArgMax", ["final_result"], -1)
    add(given, "ArgMax", [truth], -1)
    add(equal, "Equal", [prediction, given], -1)
    add("accuracy/accuracy/Mean", "Mean", [equal])
    serialized: bytes = graph.SerializeToString(deterministic=True)
    return serialized
