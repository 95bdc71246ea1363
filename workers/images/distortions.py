"""How a variant of an image is made: what the codelab's retrain.py calls distortions.

Its `add_input_distortions` draws new numbers at every training step. Here each variant is drawn
once, from the content, a number and a seed, so that its bottleneck can be cached.
"""

import hashlib
from dataclasses import dataclass

# Each choice takes a number of 6 bytes; SHA-256 has room for five.
_BYTES = 6


@dataclass(frozen=True, slots=True)
class Draw:
    """How one picture is distorted; the default leaves it as it is.

    Attributes:
        box: Left, top, right and lower edge of the part that is kept, as parts of width and
            height, in the orientation of the file.
        brightness: Factor for every pixel.
    """

    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    is_flipped: bool = False
    brightness: float = 1.0


PLAIN = Draw()


@dataclass(frozen=True, slots=True)
class Recipe:
    """How variant `number` of any image is made.

    Attributes:
        flip_left_right: Mirror half of the pictures.
        random_crop: Margin to cut off, in percent of the input size.
        random_scale: Largest further enlargement, in percent.
        random_brightness: Largest change of brightness, in percent.
    """

    flip_left_right: bool
    random_crop: int
    random_scale: int
    random_brightness: int
    seed: int
    number: int

    @property
    def text(self) -> str:
        """Identifies the variant, such as ``flip crop=10 seed=0 #3``."""
        sizes = {
            "crop": self.random_crop,
            "scale": self.random_scale,
            "brightness": self.random_brightness,
        }
        parts = ["flip"] if self.flip_left_right else []
        parts += [f"{name}={percent}" for name, percent in sizes.items() if percent]
        return " ".join([*parts, f"seed={self.seed}", f"#{self.number}"])

    def identify(self, digest: bytes) -> bytes:
        """Return the digest of the variant (32 bytes) of the content with `digest`."""
        return hashlib.sha256(digest + self.text.encode()).digest()

    def draw(self, digest: bytes) -> Draw:
        """Return how the content with `digest` is distorted.

        The numbers drawn depend on content, seed and number, not on the percentages, and come
        from a hash: no library can change them.
        """
        drawn = hashlib.sha256(digest + f"{self.seed} {self.number}".encode()).digest()
        stretch, across, down, side, light = (
            int.from_bytes(drawn[start : start + _BYTES], "big") / 256**_BYTES
            for start in range(0, 5 * _BYTES, _BYTES)
        )
        # As the codelab does: enlarge by the margin times 1 to 1 + scale, then cut out the
        # input size.
        enlarged = (1 + self.random_crop / 100) * (1 + stretch * self.random_scale / 100)
        kept = 1 / enlarged
        left, top = across * (1 - kept), down * (1 - kept)
        return Draw(
            box=(left, top, min(1.0, left + kept), min(1.0, top + kept)),
            is_flipped=self.flip_left_right and side < 0.5,
            brightness=1 + (2 * light - 1) * self.random_brightness / 100,
        )


def variant_uri(uri: str, recipe: Recipe | None) -> str:
    r"""Return the name of a variant in shards; that of an image itself is `uri`.

    No file can have the name of a variant: `encode_name` never writes a backslash before ``?``.
    """
    return uri if recipe is None else f"{uri}\\?{recipe.text}"
