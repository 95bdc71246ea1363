"""A drawn picture through the decoders and a tiny network, as a worker does it with a photograph.

In a process of its own: native code may end it, such as on a CPU without the instructions that it
was built for.
"""

import tempfile
from pathlib import Path

import numpy as np

from workers.backbones.litert import LiteRTBackbone
from workers.bottlenecks.computing import compute_results
from workers.bottlenecks.requests import Request
from workers.errors import MachineError, PoetsError, StorageError
from workers.processes.child import Child, DeathError, Tell, begin, serve
from workers.processes.heartbeat import no_heartbeat
from workers.storage.atomic import describe_refusal
from workers.storage.temporary import scratch_prefix

TINY_NETWORK = Path(__file__).parents[1] / "backbones" / "tiny.tflite"
_FORMATS = ("jpg", "webp", "tif", "png")
_TIMEOUT_S = 60.0
_INSTALL = (
    "Install poets again in an environment of its own (`pip install --force-reinstall .`), on a "
    "machine that its libraries are built for."
)


def rehearse() -> str:
    """Return what was done, in words.

    Raises:
        MachineError: When a picture or the network cannot be computed here.
    """
    child: Child[str] = Child("workers.bottlenecks.rehearsal", [], str)
    try:
        with child:
            [reason] = child.answers(None, _TIMEOUT_S)
    except DeathError as died:
        reason = f"the process ended: {died.last_words or died}. {_INSTALL}"
    except StorageError as error:
        reason = f"{error} {_INSTALL}"
    if reason:
        raise MachineError(f"A drawn picture cannot be computed: {reason}")
    return f"{', '.join(_FORMATS)} decoded, and computed by a tiny network"


def _compute(folder: Path) -> str:
    """Return what is wrong, "" when nothing is."""
    from PIL import Image

    picture = Image.linear_gradient("L").resize((96, 64)).convert("RGB")
    requests = []
    for ending in _FORMATS:
        picture.save(folder / f"picture.{ending}")
        requests.append(Request(str(folder / f"picture.{ending}")))
    results = list(compute_results(requests, LiteRTBackbone(TINY_NETWORK), no_heartbeat))
    for ending, result in zip(_FORMATS, results, strict=True):
        if result.bottleneck is None:
            return f"{ending}: {result.error}"
        # The formats lose a little; a network without its weights, or NaN, differs altogether.
        found, expected = result.bottleneck, results[-1].bottleneck
        if expected is None or not np.allclose(found, expected, atol=0.2) or not found.any():
            return f"{ending}: its bottleneck is not that of the same picture as {_FORMATS[-1]}"
    return ""


def _answer(_: None, tell: Tell) -> None:
    try:
        with tempfile.TemporaryDirectory(prefix=scratch_prefix()) as folder:
            reason = _compute(Path(folder))
        tell(reason and f"{reason}. {_INSTALL}")
    except PoetsError as error:
        tell(f"{error} {_INSTALL}")
    except OSError as error:
        tell(describe_refusal(error))


if __name__ == "__main__":
    begin()
    serve(type(None), _answer)
