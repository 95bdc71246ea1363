"""The table of architectures: pure data, one row each."""

import difflib
import hashlib
from dataclasses import dataclass

from workers.errors import UnknownArchitectureError

# Part of every identity: raise it when a change in `workers.images` changes the pixels of any
# image or variant.
PIXELS_VERSION = 3
# Stands for the weights of a backbone that came with a model from elsewhere.
UNKNOWN_WEIGHTS = "unknown"
DEFAULT_ARCHITECTURE = "mobilenet_0.50_224"
_KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications"

# Keras publishes none for MobileNet v1: of copies of its file that are the same everywhere.
_KNOWN_MD5 = {"mobilenet_2_5_224_tf_no_top.h5": "f313cee49f5d33dfb06f2b255c4adb64"}


@dataclass(frozen=True)
class BackboneSpec:
    """One architecture.

    Attributes:
        keras_name: Class in ``keras.applications``.
        alpha: Width multiplier of MobileNet v1; None for the others.
        input_size: Height and width in pixels.
        bottleneck_size: Numbers in one bottleneck.
        parameters: Weights of the backbone, without its classifier.
        preprocessing: "tf" (x / 127.5 - 1), "caffe" (BGR less the ImageNet mean), or
            "none" (the network scales by itself); x is 0 to 255. See
            ``keras.applications.imagenet_utils.preprocess_input``.
        weights_file, weights_url: Keras' own file name and where Keras publishes it.
        weights_md5: Checksum of Keras' own file, where it is known.
        is_quantized: 8-bit weights in LiteRT.
        source: Paper.
    """

    name: str
    keras_name: str
    input_size: tuple[int, int]
    bottleneck_size: int
    parameters: int
    preprocessing: str
    weights_file: str
    weights_url: str
    source: str
    weights_md5: str | None = None
    alpha: float | None = None
    is_quantized: bool = False


def _mobilenet(width: str, parameters: int, size: int, is_quantized: bool) -> BackboneSpec:
    alpha = float(width)
    keras_width = {"1.0": "1_0", "0.75": "7_5", "0.50": "5_0", "0.25": "2_5"}[width]
    file = f"mobilenet_{keras_width}_{size}_tf_no_top.h5"
    return BackboneSpec(
        name=f"mobilenet_{width}_{size}" + ("_quantized" if is_quantized else ""),
        keras_name="MobileNet",
        alpha=alpha,
        input_size=(size, size),
        bottleneck_size=int(1024 * alpha),
        parameters=parameters,
        preprocessing="tf",
        weights_file=file,
        weights_url=f"{_KERAS_URL}/mobilenet/{file}",
        weights_md5=_KNOWN_MD5.get(file),
        is_quantized=is_quantized,
        source="Howard et al. 2017, arXiv:1704.04861",
    )


def _other(
    name: str, keras_name: str, size: int, bottleneck_size: int, parameters: int,
    preprocessing: str, url: str, md5: str | None, source: str,
) -> BackboneSpec:  # fmt: skip
    return BackboneSpec(
        name, keras_name, (size, size), bottleneck_size, parameters, preprocessing,
        weights_file=url.rsplit("/", 1)[1], weights_url=url, weights_md5=md5, source=source,
    )  # fmt: skip


_ROWS = (
    _other(
        "inception_v3", "InceptionV3", 299, 2048, 21_802_784, "tf",
        f"{_KERAS_URL}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "bcbd6486424b2319ff4ef7d526e38f63", "Szegedy et al. 2015, arXiv:1512.00567",
    ),
    _other(
        "mobilenet_v2", "MobileNetV2", 224, 1280, 2_257_984, "tf",
        f"{_KERAS_URL}/mobilenet_v2/"
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        None, "Sandler et al. 2018, arXiv:1801.04381",
    ),
    _other(
        "mobilenet_v3_small", "MobileNetV3Small", 224, 576, 939_120, "none",
        f"{_KERAS_URL}/mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        "d3e8ec802a04aa4fc771ee12a9a9b836", "Howard et al. 2019, arXiv:1905.02244",
    ),
    _other(
        "mobilenet_v3_large", "MobileNetV3Large", 224, 960, 2_996_352, "none",
        f"{_KERAS_URL}/mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        "07fb09a5933dd0c8eaafa16978110389", "Howard et al. 2019, arXiv:1905.02244",
    ),
    _other(
        "efficientnet_b0", "EfficientNetB0", 224, 1280, 4_049_571, "none",
        "https://storage.googleapis.com/keras-applications/efficientnetb0_notop.h5",
        "50bc09e76180e00e4465e1a485ddc09d", "Tan and Le 2019, arXiv:1905.11946",
    ),
    _other(
        "efficientnet_v2_b0", "EfficientNetV2B0", 224, 1280, 5_919_312, "none",
        f"{_KERAS_URL}/efficientnet_v2/efficientnetv2-b0_notop.h5",
        "893217f2bb855e2983157299931e43ff", "Tan and Le 2021, arXiv:2104.00298",
    ),
    _other(
        "resnet50", "ResNet50", 224, 2048, 23_587_712, "caffe",
        f"{_KERAS_URL}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626", "He et al. 2015, arXiv:1512.03385",
    ),
    *(
        _mobilenet(width, parameters, size, is_quantized)
        for width, parameters in (
            ("1.0", 3_228_864), ("0.75", 1_832_976), ("0.50", 829_536), ("0.25", 218_544)
        )
        for size in (224, 192, 160, 128)
        for is_quantized in (False, True)
    ),
)  # fmt: skip
BACKBONES = {row.name: row for row in _ROWS}


def find_spec(name: str) -> BackboneSpec:
    """Return the row of an architecture, whose name may be in any case.

    Raises:
        UnknownArchitectureError: Names the nearest rows.
    """
    if name.lower() in BACKBONES:
        return BACKBONES[name.lower()]
    near = difflib.get_close_matches(name.lower(), BACKBONES, n=3, cutoff=0.4)
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    raise UnknownArchitectureError(f"Unknown architecture {name!r}.{hint}")


def name_backbone(spec: BackboneSpec, weights_digest: str) -> str:
    """Return the identity of a backbone: architecture, weights and preprocessing.

    Two backbones with the same identity give the same bottlenecks, so it is the key of the
    cache of bottlenecks.
    """
    text = f"{spec.name} {weights_digest} {spec.preprocessing} {spec.input_size} {PIXELS_VERSION}"
    return f"{spec.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class BackboneKey:
    """Which backbone: an architecture with certain weights.

    Attributes:
        weights_digest: SHA-256 of the weights file, "random-SEED", or UNKNOWN_WEIGHTS.
        id: What storage and the cache of bottlenecks call it (see `name_backbone`).
    """

    architecture: str
    weights_digest: str
    id: str
