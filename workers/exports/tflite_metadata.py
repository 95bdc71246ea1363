"""Metadata of a LiteRT (TFLite) file: what the input is, and the labels of the output.

The table of contents is a FlatBuffer (schema ``metadata_schema.fbs`` of tensorflow/tflite-support,
version 1.0.0) inside the model; the labels are a ZIP archive behind it. Written by hand, because
the packages that have a writer (tflite-support, mediapipe) need an old Python or bring OpenCV.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LABELS_FILE = "labels.txt"
_NAME = b"TFLITE_METADATA"
_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"
# Values of the schema's enumerations.
_TENSOR_AXIS_LABELS = 2
_IMAGE_PROPERTIES = 2
_NORMALIZATION_OPTIONS = 1
_RGB = 1


@dataclass(frozen=True)
class Description:
    """What the metadata says of a model."""

    name: str
    text: str
    version: str
    licence: str
    labels_text: str


def add_metadata(content: bytes, description: Description, path: Path) -> None:
    """Write a LiteRT model with metadata and labels.

    The normalisation is (x - 0) / 1: the model takes pixels as they are.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(_build(description))
    entry.name, entry.buffer = _NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    with zipfile.ZipFile(path, "a") as archive:
        # With a fixed date, so that the same model gives the same file.
        archive.writestr(zipfile.ZipInfo(LABELS_FILE), description.labels_text)


def _build(description: Description) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    text = builder.CreateString
    image = _table(builder, 2, {0: ("int8", _RGB)})
    content = _table(builder, 3, {0: ("uint8", _IMAGE_PROPERTIES), 1: ("offset", image)})
    options = _table(builder, 2, {0: ("offset", _floats(builder, [0.0])),
                                  1: ("offset", _floats(builder, [1.0]))})  # fmt: skip
    unit = _table(builder, 2, {0: ("uint8", _NORMALIZATION_OPTIONS), 1: ("offset", options)})
    source = _table(builder, 7, {
        0: ("offset", text("image")),
        1: ("offset", text("RGB pixels, 0 to 255.")),
        3: ("offset", content),
        4: ("offset", _offsets(builder, [unit])),
    })  # fmt: skip
    labels = _table(builder, 4, {
        0: ("offset", text(LABELS_FILE)),
        1: ("offset", text("One label a line, in the order of the output.")),
        2: ("int8", _TENSOR_AXIS_LABELS),
    })  # fmt: skip
    target = _table(builder, 7, {
        0: ("offset", text("probability")),
        1: ("offset", text("Probability of each label.")),
        6: ("offset", _offsets(builder, [labels])),
    })  # fmt: skip
    subgraph = _table(builder, 7, {
        2: ("offset", _offsets(builder, [source])),
        3: ("offset", _offsets(builder, [target])),
    })  # fmt: skip
    model = _table(builder, 8, {
        0: ("offset", text(description.name)),
        1: ("offset", text(description.text)),
        2: ("offset", text(description.version)),
        3: ("offset", _offsets(builder, [subgraph])),
        5: ("offset", text(description.licence)),
        7: ("offset", text(_PARSER_VERSION)),
    })  # fmt: skip
    builder.Finish(model, _IDENTIFIER)
    return bytes(builder.Output())


def _table(builder: Any, n_fields: int, fields: dict[int, tuple[str, int]]) -> int:
    """Write a table and return its place; a field is named by its number in the schema."""
    builder.StartObject(n_fields)
    for number, (kind, value) in fields.items():
        if kind == "offset":
            builder.PrependUOffsetTRelativeSlot(number, value, 0)
        elif kind == "uint8":
            builder.PrependUint8Slot(number, value, 0)
        else:
            builder.PrependInt8Slot(number, value, 0)
    return int(builder.EndObject())


def _offsets(builder: Any, places: list[int]) -> int:
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):
        builder.PrependUOffsetTRelative(place)
    return int(builder.EndVector())


def _floats(builder: Any, values: list[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())
