"""The settings of an evaluation: images, modes, scales, targets, bounds."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

from editvec.batch.errors import SettingsError
from editvec.batch.recipes.settings import MAX_SEED, MAX_STEPS, EmbeddingMethod, Mode
from editvec.json_codec import JsonFields
from editvec.settings import check_settings, setting

MAX_IMAGES = 10_000
MAX_SCALES = 41
_PATHS = ("probe", "masks", "reference", "inception")
_STEPS = {Mode.REFINE: 10, Mode.OPTIMIZE: 100}


class AskedMode(NamedTuple):
    """A way to make the edit, and its steps; 0 in mode vector."""

    mode: Mode
    num_steps: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `vector`, `refine`, `refine:30`, `optimize:100`.

        Raises:
            SettingsError: anything else.
        """
        match = re.fullmatch(r"(vector|refine|optimize)(?::(\d{1,5}))?", text.strip())
        if match is None or (match[1] == Mode.VECTOR and match[2]):
            raise SettingsError(
                f"modes: expected vector, refine[:STEPS] or optimize[:STEPS], got {text!r}"
            )
        mode = Mode(match[1])
        steps = int(match[2]) if match[2] else _STEPS.get(mode, 0)
        if mode is not Mode.VECTOR and not 1 <= steps <= MAX_STEPS:
            raise SettingsError(f"modes: expected 1 to {MAX_STEPS} steps, got {text!r}")
        return cls(mode, steps)

    def __str__(self) -> str:
        return self.mode.value if self.mode is Mode.VECTOR else f"{self.mode}:{self.num_steps}"

    @property
    def suffix(self) -> str:
        """What the names of its metrics end in; nothing in mode vector."""
        return "" if self.mode is Mode.VECTOR else f".{self.mode}-{self.num_steps}"


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(JsonFields):
    """How a vector is evaluated.

    Attributes:
        probe: folder of images to edit; None takes samples or renders.
        masks: folder of the masks that the images of `probe` should get, named as those of
            `batch run --masks`; None takes `operation`.
        reference: folder of images that FID and KID compare with; None takes those of `probe`, or
            other samples of the class.
        samples: latents to sample, where neither a folder nor renders are asked for.
        renders: pictures of the renderer, with the exact masks of the wanted edit; class avatars.
        seed: of samples, renders and resampling.
        embed: how images become latents.
        modes: ways to make the edit, as text; see `AskedMode`.
        scale: None takes the vector's default scale.
        scales: at which the range is calibrated, in mode vector; none calibrates nothing.
        operation: on each image's own mask: the wanted mask; None takes what the vector was
            learned from, `""` none.
        attribute: of the bundle's classifier, which the edit shall bring about; `not NAME` where
            it shall go; None takes what the class says, `""` none.
        min_leakage_psnr: in dB: no scale is usable with less outside the ROI, in the median.
        max_leakage: likewise, a mean perceptual distance; None sets no such bound.
        max_reconstruction: images whose reconstruction is beyond this perceptual distance do not
            count in the calibration.
        inception: weights of Inception v3; None looks into torch hub's cache, and does without.
    """

    json_error = SettingsError

    probe: Path | None = setting(None, kind=Path, help="Edit the images of a folder.")
    masks: Path | None = setting(
        None,
        kind=Path,
        help="The masks that the images of --probe should get, named like the images: the target "
        "of success, and of mode optimize.",
    )
    reference: Path | None = setting(
        None,
        kind=Path,
        help="Images that FID and KID compare with. [default: those of --probe, or other samples]",
    )
    samples: int = setting(64, least=1, most=MAX_IMAGES, help="Edit so many samples of the class.")
    renders: int = setting(
        0,
        least=0,
        most=MAX_IMAGES,
        help="Edit so many pictures of the renderer, which has exact masks of the wanted edit "
        "(class avatars).",
    )
    seed: int = setting(0, least=0)
    embed: str = setting("encoder", help="How pictures become latents.")
    modes: tuple[str, ...] = setting(("vector",), help="vector, refine:STEPS, optimize:STEPS.")
    scale: float | None = setting(None, kind=float, help="[default: the vector's default scale]")
    scales: tuple[float, ...] = setting(
        (),
        help="Measure the usable range over these scales, in mode vector, and store it.",
    )
    operation: str | None = setting(
        None,
        help="What shall become of each image's own mask, as in `mask edit`: the target of "
        "success. [default: what the vector was learned from]",
    )
    attribute: str | None = setting(
        None,
        help="What the class's own classifier shall see after the edit, or `not NAME`. [default: "
        "of a vector of avatars, what its name says]",
    )
    min_leakage_psnr: float = setting(
        25.0, least=0, help="No scale is usable with less outside the ROI, in the median."
    )
    max_leakage: float | None = setting(
        None,
        kind=float,
        least=0,
        help="Nor one with a greater perceptual distance there, in the mean.",
    )
    max_reconstruction: float | None = setting(
        None,
        kind=float,
        least=0,
        help="Images beyond this perceptual distance do not count for the range.",
    )
    inception: Path | None = setting(
        None,
        kind=Path,
        help="Weights of Inception v3, for FID and KID as published. [default: torch hub's cache]",
    )

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: One of them is out of its range.
        """
        if self.probe is not None and self.renders:
            raise SettingsError("probe, renders: expected one of them")
        if self.masks is not None and self.probe is None:
            raise SettingsError("masks: only pictures of a folder have them; give probe too")
        if self.masks is not None and self.operation:
            raise SettingsError("masks, operation: expected one of them")
        check_settings(self, SettingsError)
        if self.seed >= MAX_SEED:
            raise SettingsError(f"seed: expected less than {MAX_SEED}, got {self.seed}")
        if not self.modes or len(set(map(str, self.asked_modes))) < len(self.modes):
            raise SettingsError("modes: expected at least one, each once")
        if len(self.scales) > MAX_SCALES or (self.scales and not _rise(self.scales)):
            raise SettingsError(f"scales: expected 3 to {MAX_SCALES} that rise, from low to high")
        if self.operation:
            from editvec.registry.masks.operation_text import parse_edits

            parse_edits(self.operation)
        _ = EmbeddingMethod.parse(self.embed)

    @property
    def asked_modes(self) -> list[AskedMode]:
        """The parsed modes."""
        return [AskedMode.parse(text) for text in self.modes]

    @property
    def is_sampled(self) -> bool:
        """True if the images are samples, which are their own reconstruction."""
        return self.probe is None and not self.renders

    def probe_set(self) -> str:
        """The images, in words; they travel with every value."""
        if self.probe is not None:
            return f"folder {self.probe.name}, {self.embed}"[:200]
        if self.renders:
            return f"renders, seed {self.seed}, {self.embed}"
        return f"samples, seed {self.seed}"

    def absolute(self) -> Self:
        """The same with absolute paths, for whoever works elsewhere."""
        paths = {name: getattr(self, name) for name in _PATHS}
        found = {name: path.resolve() for name, path in paths.items() if path is not None}
        return replace(self, **found)

    def files(self) -> list[tuple[str, int | None, int | None]]:
        """The files of all its folders: name, size in bytes, time of the last change in ns.

        Raises:
            PlanError: a folder cannot be listed, or holds no image.
        """
        from editvec.batch.runs.inputs import scan_folder

        folders = [one for one in (self.probe, self.masks, self.reference) if one is not None]
        found = [one for folder in folders for one in scan_folder(folder).inputs]
        return [(one.source, one.size, one.mtime_ns) for one in found]


def _rise(scales: tuple[float, ...]) -> bool:
    return len(scales) >= 3 and all(a < b for a, b in itertools.pairwise(scales))
