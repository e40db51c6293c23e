"""A picture in the colours of its own file: its decoded samples, where nothing was changed in it.

A wide picture loses what sRGB does not have when it is converted. So the samples are kept beside
the converted pixels, and only what an edit changed is converted back into them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from editvec.engine.errors import ImageError, ShapeError
from editvec.engine.images.color import SourceColor, from_srgb
from editvec.engine.images.decoding import FORMATS, MAX_PIXELS, decode_file, decode_samples

Pixels = npt.NDArray[np.uint8]
_WHITE = 255


@dataclass(frozen=True)
class OwnColors:
    """The samples of a picture as its file has them.

    Attributes:
        samples: Upright, uint8 [H, W, 3]; grey ones are equal, 16 bits were brought to 8.
        alpha: Of a transparent picture, uint8 [H, W]; None where all of it is opaque.
        color: What the samples mean.
    """

    samples: Pixels
    alpha: Pixels | None
    color: SourceColor

    def edited(self, before: Pixels, after: Pixels) -> Pixels:
        """The samples, with what an edit changed; in front of white it shows as in `after`.

        Args:
            before: The picture in sRGB on white, as it was read, uint8 [H, W, 3].
            after: The same, edited.

        Returns:
            uint8 [H, W, 3], or [H, W, 4] of a transparent picture.

        Raises:
            ImageError: There is no way back into these colours.
            ShapeError: The arrays are of another size.
        """
        if not before.shape == after.shape == self.samples.shape:
            raise ShapeError(f"after: expected {list(self.samples.shape)}, got {list(after.shape)}")
        changed = (before != after).any(axis=2)
        samples = self.samples.copy()
        colors = after[changed]
        if self.alpha is not None:
            changed &= self.alpha > 0  # where nothing can be seen, nothing changes
            share = self.alpha[changed][:, None] / 255
            behind = (after[changed] - _WHITE * (1 - share)) / share
            colors = np.rint(behind.clip(0, 255)).astype(np.uint8)
        if len(colors):
            samples[changed] = from_srgb(colors, self.color)
        return samples if self.alpha is None else np.dstack([samples, self.alpha])


def read_own_colors(path: Path, *, max_pixels: int = MAX_PIXELS) -> OwnColors:
    """Read the samples of a picture, without a conversion of its colours.

    Raises:
        ImageError: Any trouble with this file; one line that names the file and the reason.
    """

    def decode(image: Image.Image) -> OwnColors:
        picture, color = decode_samples(image, max_pixels)
        if picture.mode != "RGBA":
            return OwnColors(np.array(picture), None, color)
        samples = np.array(picture)
        return OwnColors(samples[..., :3].copy(), samples[..., 3].copy(), color)

    return decode_file(path, decode, formats=FORMATS)


def on_white(samples: Pixels) -> Pixels:
    """Lay samples [H, W, 4] on white, for formats without transparency: [H, W, 3]."""
    if samples.ndim != 3 or samples.shape[2] != 4:
        raise ShapeError(f"samples: expected [H, W, 4], got {list(samples.shape)}")
    picture = Image.fromarray(samples)
    white = Image.new("RGBA", picture.size, (_WHITE, _WHITE, _WHITE, _WHITE))
    return np.array(Image.alpha_composite(white, picture).convert("RGB"))


def check_way_back(color: SourceColor) -> None:
    """Refuse colours that an edited picture cannot be in.

    Raises:
        ImageError: The samples are ink, or grey by a profile for grey; or their profile leads to
            sRGB and not back.
    """
    if color.profile is None:
        return
    if color.kept is None:
        what = "grey samples" if color.mode == "L" else "ink"
        raise ImageError(
            f"its colour profile {color.name!r} is for {what}, and cannot be kept in an edited "
            "picture"
        )
    from_srgb(np.zeros((1, 3), np.uint8), color)
