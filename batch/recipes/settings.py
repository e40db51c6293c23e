"""What a run may be told: modes, embedding, compositing, sizes; and the times of a lease."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from editvec.batch.errors import SettingsError
from editvec.batch.naming import IMAGE_SUFFIXES
from editvec.json_codec import JsonFields
from editvec.settings import check_settings, rule_of, setting

LEASE_SECONDS = 120.0
HEARTBEAT_SECONDS = 20.0
REAP_SECONDS = 20.0
MAX_ATTEMPTS = 3
MAX_CHUNK_SIZE = 64
MINI_BATCH = 16
MAX_STEPS = 10_000
TARGET_STEPS = 500
EMBED_AHEAD = "steps:100"
"""How images are embedded ahead of the runs that need them."""
MAX_GENERATED = 10_000_000
MAX_SEED = 2**62


class Mode(StrEnum):
    """How an edit is made: one synthesis, repaired after it, or fitted to an edited mask."""

    VECTOR = "vector"
    REFINE = "refine"
    OPTIMIZE = "optimize"


class Priority(StrEnum):
    """Whose chunks workers take first."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Space(StrEnum):
    """The latent space of an embedding."""

    W = "W"
    W_PLUS = "W+"


class Composite(StrEnum):
    """How the edit comes back into the input's pixels."""

    FEATHER = "feather"
    GRADIENT = "gradient"
    NONE = "none"


class Fit(StrEnum):
    """How an input of another size or shape meets the generator's square."""

    STRETCH = "stretch"
    CROP = "crop"
    PAD = "pad"


class OutputSize(StrEnum):
    """Of the outputs: the generator's, or the input picture's own."""

    GENERATOR = "generator"
    ORIGINAL = "original"


class Output(StrEnum):
    """How the outputs lie in the output folder."""

    IMAGEFOLDER = "imagefolder"
    COCO = "coco"
    WEBDATASET = "webdataset"


@dataclass(frozen=True, kw_only=True)
class EmbeddingMethod:
    """How an image becomes latents.

    Attributes:
        num_steps: steps of inversion after the encoder; 0 = the encoder alone. With a target, the
            most steps that may be spent on reaching it.
        target_psnr: stop an image as soon as its reconstruction reaches this PSNR, in dB.
        space: W or W+.
    """

    num_steps: int = 0
    target_psnr: float | None = None
    space: Space = Space.W_PLUS

    @classmethod
    def parse(cls, text: str, space: str = "W+") -> Self:
        """Reads ``encoder``, ``steps:N`` or ``target:DB``.

        Raises:
            SettingsError: anything else, or a number out of range.
        """
        chosen = Space(space)
        if text == "encoder":
            return cls(space=chosen)
        if match := re.fullmatch(r"steps:(\d{1,9})", text):
            if not 1 <= int(match[1]) <= MAX_STEPS:
                raise SettingsError(f"embed: expected steps:1 to steps:{MAX_STEPS}, got {text!r}")
            return cls(num_steps=int(match[1]), space=chosen)
        if match := re.fullmatch(r"target:(\d{1,3}(?:\.\d+)?)", text):
            if not 0 < float(match[1]) <= 100:
                raise SettingsError(f"embed: expected a target of 0 to 100 dB, got {text!r}")
            return cls(num_steps=TARGET_STEPS, target_psnr=float(match[1]), space=chosen)
        raise SettingsError(f"embed: expected encoder, steps:N or target:DB, got {text!r}")

    def __str__(self) -> str:
        if self.target_psnr is not None:
            return f"target:{self.target_psnr:g}"
        return f"steps:{self.num_steps}" if self.num_steps else "encoder"


Kind = Literal["png", "jpeg", "webp"]
_DEFAULT_QUALITY: dict[Kind, int] = {"jpeg": 95, "webp": 90}


@dataclass(frozen=True, kw_only=True)
class RunSettings(JsonFields):
    """Everything about a run that is neither its inputs nor its edits.

    Attributes:
        mode: how an edit is made.
        embed: ``encoder``, ``steps:N`` or ``target:DB``; inputs that are seeds need none.
        space: latent space of the embedding.
        composite: how the edit comes back into the input's pixels.
        fit: how an input of another shape meets the generator's square.
        refine_steps: steps of repair in mode refine.
        optimize_steps: steps per image in mode optimize.
        roi: part labels that mode optimize may touch; empty = those of the edits' vectors.
        masks_folder: where mode optimize finds the wanted masks; text with surrogate escapes.
        seed: of a generated run.
        count: number of sampled inputs; 0 in a run over a folder.
        truncation_psi: of a generated run.
        chunk_size: inputs per chunk; 0 = by how long they take.
        image_format: ``png``, ``jpeg:Q``, ``webp:Q`` or ``webp:lossless``; masks are always PNG.
        output: how the outputs lie in the output folder.
        max_leakage: reject beyond this perceptual distance outside the ROI; None = do not measure.
        max_reconstruction: reject inputs whose reconstruction is beyond this perceptual distance.
        max_uncertainty: reject beyond this label uncertainty, in nats.
        min_success: reject below this IoU with the wanted mask, in mode optimize.
        refine_auto: refine what `max_leakage` would reject, and judge it again.
        output_size: of the outputs.
        boxes: digest of the boxes that are edited in their pictures; None = whole pictures.
        box_margin: what the view has around a box, as a share of the box.
        sources: whether the unedited samples are written too; None = unless a scale is drawn.
        keep_profile: outputs are in the colours of their inputs, not in sRGB.
    """

    json_error = SettingsError

    mode: Mode = setting(
        Mode.VECTOR, help="Apply; apply and repair; or fit each image to its mask."
    )
    embed: str = setting(
        "encoder",
        help="How an image becomes latents: by the encoder alone; N steps closer to the image; or "
        f"as many, at most {TARGET_STEPS}, as it takes to reach a PSNR of DB.",
    )
    space: Space = setting(
        Space.W_PLUS,
        help="Of these latents: W+ comes closer to the image, W is easier to edit.",
    )
    composite: Composite = setting(
        Composite.FEATHER,
        help="How the edit comes back into the input's pixels: with a soft edge; in its colours, "
        "without a seam; or not at all: then the whole image is the generator's.",
    )
    fit: Fit = setting(
        Fit.CROP,
        help="How an image of another shape meets the generator's square: its middle square, or "
        "with --boxes the square around the box; stretched to it; or with black bars.",
    )
    refine_steps: int = setting(10, least=1, most=MAX_STEPS, help="Steps of mode refine.")
    optimize_steps: int = setting(
        100, least=1, most=MAX_STEPS, help="Steps of mode optimize, for each image."
    )
    roi: tuple[str, ...] = setting(
        (), help="Parts that may change. [default: those of the edits' vectors]"
    )
    masks_folder: str | None = setting(None, help="Edited masks, for mode optimize.")
    seed: int = setting(0, least=0, help="Of all that is drawn.")
    count: int = setting(0, least=0, most=MAX_GENERATED, help="How many images.")
    truncation_psi: float = setting(
        1.0,
        least=0,
        most=2,
        help="1: all of the class's variety; towards 0: closer to its average.",
    )
    chunk_size: int = setting(
        0,
        least=0,
        most=MAX_CHUNK_SIZE,
        help="Inputs per chunk. [default: what takes a minute]",
    )
    image_format: str = setting(
        "png",
        help=f"Of the images; masks are PNG. jpeg (Q {_DEFAULT_QUALITY['jpeg']}) and webp "
        f"(Q {_DEFAULT_QUALITY['webp']}) lose a little everywhere: pixels that no edit may touch "
        "then differ from the input.",
    )
    output: Output = setting(
        Output.IMAGEFOLDER,
        help="Files for Hugging Face datasets; these with COCO annotations; or tar shards.",
    )
    max_leakage: float | None = setting(
        None,
        kind=float,
        least=0,
        help="Reject what changed more than this outside the ROI, as a perceptual distance.",
    )
    max_reconstruction: float | None = setting(
        None,
        kind=float,
        least=0,
        help="Reject inputs that the class cannot reconstruct, by perceptual distance.",
    )
    max_uncertainty: float | None = setting(
        None,
        kind=float,
        least=0,
        help="Reject where the part labels are less certain than this.",
    )
    min_success: float | None = setting(
        None,
        kind=float,
        least=0,
        help="Reject what comes less close than this to its wanted mask, 0 to 1. Only mode "
        "optimize has such masks.",
    )
    refine_auto: bool = setting(
        default=False,
        help="auto: refine what --max-leakage would reject, and judge it again.",
    )
    output_size: OutputSize = setting(
        OutputSize.GENERATOR,
        help="original: the whole picture at its own size, with the change added to it.",
    )
    boxes: str | None = None
    box_margin: float = setting(
        0.1,
        least=0,
        most=10,
        help="What is seen around a box on each side, as a share of the box.",
    )
    sources: bool | None = setting(
        None,
        kind=bool,
        help="Whether the unedited images are written too; no where an edit draws its scale, else "
        "yes.",
    )
    keep_profile: bool = setting(
        default=False,
        help="Outputs in the colours of their inputs, with profile and transparency, not in sRGB; "
        "with --output-size original.",
    )

    def __post_init__(self) -> None:
        # ``jpeg`` and ``jpeg:95`` are the same request
        object.__setattr__(self, "image_format", str(self.parsed_format))
        check_settings(self, SettingsError)
        if self.seed > MAX_SEED:
            raise SettingsError(f"seed: expected at most {MAX_SEED}, got {self.seed}")
        for name in _ENUMS:
            object.__setattr__(self, name, rule_of(type(self), name).kind(getattr(self, name)))
        if self.masks_folder is not None and self.mode is not Mode.OPTIMIZE:
            raise SettingsError("masks: only mode optimize takes a folder of masks")
        _ = self.embedding
        self._check_gates()
        self._check_photographs()

    def _check_photographs(self) -> None:
        if self.output_size is OutputSize.ORIGINAL and self.composite is Composite.NONE:
            raise SettingsError(
                "output_size: original adds the change to the picture: composite feather or "
                "gradient, not none"
            )
        if self.keep_profile and self.output_size is not OutputSize.ORIGINAL:
            raise SettingsError(
                "keep_profile: only outputs of output_size original have pixels of their inputs' "
                f"files, not those of {self.output_size.value}"
            )
        if self.count and (self.boxes or self.output_size is OutputSize.ORIGINAL):
            raise SettingsError("output_size, boxes: sampled images have neither a size nor boxes")

    def _check_gates(self) -> None:
        if self.min_success is not None and self.mode is not Mode.OPTIMIZE:
            raise SettingsError(
                "min_success: only mode optimize has masks from outside to compare its results with"
            )
        if self.max_reconstruction is not None and self.count:
            raise SettingsError("max_reconstruction: sampled images are their own reconstruction")
        if self.refine_auto and (self.max_leakage is None or self.mode is not Mode.VECTOR):
            raise SettingsError("refine auto: expected mode vector and a bound, --max-leakage")

    @property
    def embedding(self) -> EmbeddingMethod:
        """The parsed embedding."""
        return EmbeddingMethod.parse(self.embed, self.space)

    @property
    def parsed_format(self) -> ImageFormat:
        """The parsed image format."""
        return ImageFormat.parse(self.image_format)


_ENUMS = ("mode", "space", "composite", "fit", "output", "output_size")


def broker_url(home: Path) -> str:
    """The address of the broker: EDITVEC_BROKER_URL, or a folder under the home folder."""
    return os.environ.get("EDITVEC_BROKER_URL") or f"filesystem://{quote(str(home / 'broker'))}"


# --- the file format of output images: what `--format` takes ---

_TEXT = re.compile(r"(jpeg|webp)(?::(\d{1,3}))?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class ImageFormat:
    """A format and its quality.

    Attributes:
        kind: png, jpeg or webp.
        quality: 1 to 100; None = without loss.
    """

    kind: Kind = "png"
    quality: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads ``png``, ``jpeg``, ``jpeg:Q``, ``webp``, ``webp:Q`` or ``webp:lossless``.

        Raises:
            SettingsError: anything else, or a quality out of range.

        Example:
            >>> str(ImageFormat.parse("jpeg"))
            'jpeg:95'
        """
        if text == "png":
            return cls()
        if text == "webp:lossless":
            return cls(kind="webp")
        if match := _TEXT.fullmatch(text):
            kind: Kind = "jpeg" if match[1] == "jpeg" else "webp"
            quality = int(match[2] or _DEFAULT_QUALITY[kind])
            if 1 <= quality <= 100:
                return cls(kind=kind, quality=quality)
        raise SettingsError(
            "format: expected png, jpeg[:Q], webp[:Q] or webp:lossless with Q from 1 to 100, "
            f"got {text!r}"
        )

    def __str__(self) -> str:
        if self.quality is not None:
            return f"{self.kind}:{self.quality}"
        return "png" if self.kind == "png" else f"{self.kind}:lossless"

    @property
    def suffix(self) -> str:
        """Of file names, with its dot."""
        return IMAGE_SUFFIXES[self.kind]
