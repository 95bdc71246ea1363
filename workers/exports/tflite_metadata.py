"""Metadata of a LiteRT (TFLite) file: what the input is, and the labels of the output.

The table of contents is a FlatBuffer (schema ``metadata_schema.fbs`` of tensorflow/tflite-support,
version 1.0.0) inside the model; the labels are a ZIP archive behind it. Written here, because the
packages with a writer (tflite-support, mediapipe) need an old Python or bring OpenCV.
"""

import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

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


class Normalization(NamedTuple):
    """How a model takes pixels x of 0 to 255: (x - mean) / std."""

    mean: float
    std: float


AS_THEY_ARE = Normalization(0.0, 1.0)


def add_metadata(content: bytes, card: ModelCard, path: Path, taken: Normalization) -> None:
    """Write a LiteRT model with metadata and labels."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(_build(card, taken))
    entry.name, entry.buffer = _NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    with zipfile.ZipFile(path, "a") as archive:
        # With a fixed date, so that the same model gives the same file.
        archive.writestr(zipfile.ZipInfo(LABELS_FILE), labels_text(card.labels))


def read_normalization(content: bytes) -> Normalization | None:
    """Return how a LiteRT model says that it takes pixels; None when it does not say."""
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers.table import Table

    model = schema.Model.GetRootAs(content)
    entries = [model.Metadata(number) for number in range(model.MetadataLength())]
    found = [entry for entry in entries if entry.Name() == _NAME]
    if not found:
        return None
    metadata = model.Buffers(found[0].Buffer()).DataAsNumpy().tobytes()
    root = Table(metadata, int.from_bytes(metadata[:4], "little"))
    try:
        graph = _inner(root, "ModelMetadata", "subgraph_metadata", 0)
        source = _inner(graph, "SubGraphMetadata", "input_tensor_metadata", 0)
        unit = _inner(source, "TensorMetadata", "process_units", 0)
        options = Table(metadata, 0)
        unit.Union(options, _offset(unit, "ProcessUnit", "options"))
        mean, std = (_first_number(options, name) for name in ("mean", "std"))
    except (KeyError, struct.error, IndexError):
        return None
    return Normalization(mean, std)


def _offset(table: Any, kind: str, field: str) -> int:
    """Return where a field of a table is; KeyError when it is not there."""
    offset = int(table.Offset(4 + 2 * _FIELDS[kind].split().index(field)))
    if not offset:
        raise KeyError(field)
    return offset


def _inner(table: Any, kind: str, field: str, number: int) -> Any:
    from flatbuffers.table import Table

    place = table.Vector(_offset(table, kind, field)) + 4 * number
    return Table(table.Bytes, table.Indirect(place))


def _first_number(table: Any, field: str) -> float:
    place = table.Vector(_offset(table, "NormalizationOptions", field))
    return float(struct.unpack_from("<f", table.Bytes, place)[0])


def _build(card: ModelCard, taken: Normalization) -> bytes:
    import flatbuffers

    normalization = _table("NormalizationOptions", mean=[taken.mean], std=[taken.std])
    least, most = ((x - taken.mean) / taken.std for x in (0, 255))
    source = _table(
        "TensorMetadata",
        name="image",
        description=f"RGB pixels, {least:g} to {most:g}.",
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
