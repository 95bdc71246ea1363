"""Why no picture comes of the bytes of a file: what they are, and what of it is not read."""

import io
import re

from PIL import Image, UnidentifiedImageError

from workers.images.jpeg import read_frame
from workers.images.tiff import describe_tiff_content

_NO_IMAGE = "not an image: no known format"
# What can be read, by Pillow's names.
_OURS = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8[79]a",
    "WEBP": rb"RIFF.{4}WEBP",
    "TIFF": rb"II\*\0|MM\0\*|II\+\0\x08\0|MM\0\+\0\x08",
    "BMP": rb"BM.{4}\0{4}.{4}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    "AVIF": rb".{4}ftypavi[fs]",
    "PPM": rb"P[1-6][ \t\r\n#]",
}
# Some are TIFFs as well.
_RAW = {
    "raw camera": rb"II\x1a\0\0\0HEAPCCDR|FUJIFILMCCD-RAW|IIRO|IIRS|IIU\0|.{4}ftypcrx |II\*\0.{4}CR"
    rb"|\0MRM|FOVb|IIII\x01",
}
_OTHERS = {
    "HEIF": rb".{4}ftyp(?:hei[cxms]|hev[cmsx]|mif[123]|msf1|avci|avcs)",
    "JPEG 2000": rb"\0\0\0\x0cjP  \r\n|\xff\x4f\xff\x51",
    "JPEG XL": rb"\0\0\0\x0cJXL \r\n|\xff\x0a",
    "JPEG XR": rb"II\xbc",
    "Photoshop": rb"8BPS\0[\x01\x02]",
    "ICO": rb"\0\0[\x01\x02]\0[^\0]\0",
    "PCX": rb"\x0a[\0-\x05]\x01[\x01\x02\x04\x08]",
    "ICNS": rb"icns",
    "OpenEXR": rb"\x76\x2f\x31\x01",
    "Radiance HDR": rb"#\?R(?:ADIANCE|GBE)",
    "DPX": rb"SDPX|XPDS",
    "FITS": rb"SIMPLE  =",
    "DICOM": rb".{128}DICM",
    "DDS": rb"DDS ",
    "SGI": rb"\x01\xda[\0\x01][\x01\x02]",
    "QOI": rb"qoif",
    "SVG": rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?(?:<!DOCTYPE svg[^>]*>\s*)?<svg\b",
    "PDF": rb"%PDF-",
    "EPS": rb"%!PS-Adobe-[\d.]+ EPSF|\xc5\xd0\xd3\xc6",
    "PFM": rb"P[fF]\s",
    "PAM": rb"P7\n",
    "GIMP": rb"gimp xcf",
    "FLIF": rb"FLIF",
    "BPG": rb"BPG\xfb",
    "DjVu": rb"AT&TFORM",
    "MNG": rb"\x8a[M]NG\r\n|\x8bJNG\r\n",
    "XPM": rb"/\* XPM \*/",
    "Windows metafile": rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF",
    "animated cursor": rb"RIFF.{4}ACON",
}
_NO_IMAGES = {
    "an MP4 or QuickTime video": rb".{4}(?:ftyp|moov|mdat|wide|skip)",
    "an AVI video": rb"RIFF.{4}AVI ",
    "a Matroska or WebM video": rb"\x1a\x45\xdf\xa3",
    "an MPEG video": rb"\0\0\x01[\xb3\xba]|\x47.{187}\x47",
    "a Windows Media video": rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    "a Flash video": rb"FLV\x01",
    "an Ogg video": rb"OggS",
    "a ZIP archive": rb"PK(?:\x03\x04|\x05\x06)",
    "a compressed file": rb"\x1f\x8b|BZh|\xfd7zXZ\0|7z\xbc\xaf|Rar!\x1a|\x28\xb5\x2f\xfd",
    "a Git LFS pointer": rb"version https://git-lfs",
}
_LONGEST_START = 1024
_ALL = _RAW | _OURS | _OTHERS | _NO_IMAGES
_PATTERNS = {name: re.compile(pattern, re.DOTALL) for name, pattern in _ALL.items()}
_FRAMES = {
    0xC3: "lossless", 0xC5: "hierarchical", 0xC6: "hierarchical progressive",
    0xC7: "hierarchical lossless", 0xCB: "lossless arithmetic-coded",
    0xCD: "hierarchical arithmetic-coded", 0xCE: "hierarchical progressive arithmetic-coded",
    0xCF: "hierarchical lossless arithmetic-coded",
}  # fmt: skip


def explain(error: Exception, content: bytes) -> str:
    """Return why a content is refused, as the reason of its row.

    Args:
        error: What a decoder raised.
    """
    if not isinstance(error, UnidentifiedImageError):
        kind = _unusual_jpeg(content)
        return f"{kind} is not supported" if kind else f"cannot be decoded: {_text(error)}"
    name = name_format(content)
    if name is None:
        return _NO_IMAGE
    if name in _NO_IMAGES:
        return f"not an image: it is {name}"
    if name in _OTHERS | _RAW:
        return f"{name} is not supported: convert it to JPEG"
    if kind := _unusual_jpeg(content):
        return f"{kind} is not supported"
    if name == "TIFF":
        kind = describe_tiff_content(content)
        return (
            f"{kind} is not supported"
            if kind
            else "cannot be decoded: TIFF: its tags are cut off or damaged"
        )
    return f"cannot be decoded: {name}: {_why(name, content)}"


def name_format(content: bytes) -> str | None:
    """Return the format of a file by its first bytes, or None when it is no image."""
    start = content[:_LONGEST_START]
    return next((name for name, pattern in _PATTERNS.items() if pattern.match(start)), None)


def _unusual_jpeg(content: bytes) -> str | None:
    """Return what kind of JPEG it is, if that is why it cannot be read."""
    frame = read_frame(content)
    if frame is None or (frame.marker not in _FRAMES and frame.bits == 8 and frame.height):
        return None
    if frame.marker == 0xC3 and frame.bits == 8:
        return None
    kind = _FRAMES.get(frame.marker, "")
    if frame.bits != 8:
        kind = f"{kind} {frame.bits}-bit".strip()
    return f"{kind} JPEG".strip() if kind else "JPEG that gives its height at its end"


def _why(name: str, content: bytes) -> str:
    """Return what Pillow does not say when it finds no format that fits."""
    try:
        Image.OPEN[name][0](io.BytesIO(content), "").close()
    except Exception as error:
        text = _text(error)
        return "damaged" if text == "not identified by this driver" else text
    return "damaged"


def _text(error: Exception) -> str:
    # Messages of decoders may hold addresses (<_io.BytesIO object at 0x...>).
    return str(error).split(" <", 1)[0].strip() or type(error).__name__
