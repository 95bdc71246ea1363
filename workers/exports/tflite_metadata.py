"""Metadata of a LiteRT (TFLite) file: what the input is, and the labels of the output.

The table of contents is a FlatBuffer (schema ``metadata_schema.fbs`` of tensorflow/tflite-support,
version 1.0.0) inside the model; the labels are a ZIP archive behind it. Written here, because the
packages with a writer (tflite-support, mediapipe) need an old Python or bring OpenCV.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LABELS_FILE = "labels.txt"
_NAME = b"TFLITE_METADATA"
_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"
# Fields of the schema's tables in the order of their numbers; offsets but for those with a type.
_FIELDS = {
    "ModelMetadata": "name description version subgraph_metadata author license associated_files "
    "min_parser_version",
    "SubGraphMetadata": "name description input_tensor_metadata output_tensor_metadata "
    "associated_files input_process_units output_process_units",
    "TensorMetadata": "name description dimension_names content process_units stats "
    "associated_files",
    "AssociatedFile": "name description type:int8 locale",
    "ProcessUnit": "options_type:uint8 options",
    "NormalizationOptions": "mean std",
    "Content": "content_properties_type:uint8 content_properties range",
    "ImageProperties": "color_space:int8 default_size",
}
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
    image = _table(builder, "ImageProperties", color_space=_RGB)
    content = _table(
        builder,
        "Content",
        content_properties_type=_IMAGE_PROPERTIES,
        content_properties=image,
    )
    mean, std = _floats(builder, [0.0]), _floats(builder, [1.0])
    options = _table(builder, "NormalizationOptions", mean=mean, std=std)
    unit = _table(builder, "ProcessUnit", options_type=_NORMALIZATION_OPTIONS, options=options)
    source = _table(
        builder,
        "TensorMetadata",
        name=text("image"),
        description=text("RGB pixels, 0 to 255."),
        content=content,
        process_units=_offsets(builder, [unit]),
    )
    labels = _table(
        builder,
        "AssociatedFile",
        name=text(LABELS_FILE),
        description=text("One label a line, in the order of the output."),
        type=_TENSOR_AXIS_LABELS,
    )
    target = _table(
        builder,
        "TensorMetadata",
        name=text("probability"),
        description=text("Probability of each label."),
        associated_files=_offsets(builder, [labels]),
    )
    subgraph = _table(
        builder,
        "SubGraphMetadata",
        input_tensor_metadata=_offsets(builder, [source]),
        output_tensor_metadata=_offsets(builder, [target]),
    )
    model = _table(
        builder,
        "ModelMetadata",
        name=text(description.name),
        description=text(description.text),
        version=text(description.version),
        subgraph_metadata=_offsets(builder, [subgraph]),
        license=text(description.licence),
        min_parser_version=text(_PARSER_VERSION),
    )
    builder.Finish(model, _IDENTIFIER)
    return bytes(builder.Output())


def _table(builder: Any, table: str, /, **values: int) -> int:
    """Write a table and return its offset."""
    fields = [field.partition(":") for field in _FIELDS[table].split()]
    builder.StartObject(len(fields))
    for name, value in values.items():
        ((number, kind),) = [
            (i, kind) for i, (field, _, kind) in enumerate(fields) if field == name
        ]
        if kind == "uint8":
            builder.PrependUint8Slot(number, value, 0)
        elif kind == "int8":
            builder.PrependInt8Slot(number, value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(number, value, 0)
    return int(builder.EndObject())


def _offsets(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: Any, values: list[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())
