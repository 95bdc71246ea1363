"""Metadata of a LiteRT (TFLite) file: what the input is, and the labels of the output.

The table of contents is a FlatBuffer (schema ``metadata_schema.fbs`` of tensorflow/tflite-support,
version 1.0.0) inside the model; the labels are a ZIP archive behind it. Written here, because the
packages with a writer (tflite-support, mediapipe) need an old Python or bring OpenCV.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from workers.exports.model_readme import licence_of
from workers.heads.model_folder import ModelCard, labels_text

LABELS_FILE = "labels.txt"
_NAME = b"TFLITE_METADATA"
_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"
# Fields of the schema's tables in the order of their numbers.
_FIELDS = {
    "ModelMetadata": "name description version subgraph_metadata author license associated_files "
    "min_parser_version",
    "SubGraphMetadata": "name description input_tensor_metadata output_tensor_metadata",
    "TensorMetadata": "name description dimension_names content process_units stats "
    "associated_files",
    "AssociatedFile": "name description type",
    "ProcessUnit": "options_type options",
    "NormalizationOptions": "mean std",
    "Content": "content_properties_type content_properties",
    "ImageProperties": "color_space",
}
# Values of the schema's enumerations.
_TENSOR_AXIS_LABELS = 2
_IMAGE_PROPERTIES = 2
_NORMALIZATION_OPTIONS = 1
_RGB = 1


def add_metadata(content: bytes, card: ModelCard, path: Path) -> None:
    """Write a LiteRT model with metadata and labels.

    The normalisation is (x - 0) / 1: the model takes pixels as they are.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(_build(card))
    entry.name, entry.buffer = _NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    with zipfile.ZipFile(path, "a") as archive:
        # With a fixed date, so that the same model gives the same file.
        archive.writestr(zipfile.ZipInfo(LABELS_FILE), labels_text(card.labels))


def _build(card: ModelCard) -> bytes:
    import flatbuffers

    normalization = _table("NormalizationOptions", mean=[0.0], std=[1.0])
    source = _table(
        "TensorMetadata",
        name="image",
        description="RGB pixels, 0 to 255.",
        content=_table(
            "Content",
            content_properties_type=_IMAGE_PROPERTIES,
            content_properties=_table("ImageProperties", color_space=_RGB),
        ),
        process_units=[
            _table("ProcessUnit", options_type=_NORMALIZATION_OPTIONS, options=normalization)
        ],
    )
    labels = _table(
        "AssociatedFile",
        name=LABELS_FILE,
        description="One label a line, in the order of the output.",
        type=_TENSOR_AXIS_LABELS,
    )
    target = _table(
        "TensorMetadata",
        name="probability",
        description="Probability of each label.",
        associated_files=[labels],
    )
    model = _table(
        "ModelMetadata",
        name=card.name,
        description=f"Classifier of {len(card.labels)} labels on {card.architecture}, "
        "made by poets.",
        version=card.created,
        subgraph_metadata=[
            _table(
                "SubGraphMetadata", input_tensor_metadata=[source], output_tensor_metadata=[target]
            )
        ],
        license=licence_of(card),
        min_parser_version=_PARSER_VERSION,
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(_write(builder, model), _IDENTIFIER)
    return bytes(builder.Output())


def _table(name: str, /, **values: Any) -> dict[int, Any]:
    """Return the values of a table by the numbers of their fields."""
    fields = _FIELDS[name].split()
    return {fields.index(field): value for field, value in values.items()}


def _write(builder: Any, value: Any) -> int:
    """Write a text, a table, or a list of tables or floats, and return its offset."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, list) and isinstance(value[0], float):
        return int(builder.CreateNumpyVector(np.array(value, np.float32)))
    if isinstance(value, list):
        offsets = [_write(builder, table) for table in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())
    # A table holds its enumerations, one byte each, but only the offsets of all else.
    written = {
        field: inner if isinstance(inner, int) else _write(builder, inner)
        for field, inner in value.items()
    }
    builder.StartObject(max(value) + 1)
    for field, inner in value.items():
        if isinstance(inner, int):
            builder.PrependUint8Slot(field, inner, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(field, written[field], 0)
    return int(builder.EndObject())
