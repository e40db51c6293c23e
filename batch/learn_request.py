"""What is to be learned: the files, the parts, the settings; and lists of such requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from batch.errors import SettingsError
from batch.settings import MAX_STEPS, Embedding
from engine.editing import EditSettings
from engine.inversion import EmbedSettings

Preset = Literal["learn", "released"]
_PRESETS = ("learn", "released")


@dataclass(frozen=True, kw_only=True)
class LearnSettings:
    """How a vector is learned.

    Attributes:
        preset: Loss weights and reference: "learn", or "released" for those of the paper's code.
        num_steps: Steps of learning; None takes the preset's own number.
        embed: Steps of embedding the image: ``encoder``, ``steps:N`` or ``target:DB``.
        dilation: ROI buffer in pixels of the generator's image; None goes by its resolution.
    """

    preset: Preset = "learn"
    num_steps: int | None = None
    embed: str = "steps:100"
    dilation: int | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: One of them is out of its range.
        """
        if self.preset not in _PRESETS:
            raise SettingsError(f"preset: expected learn or released, got {self.preset!r}")
        if self.num_steps is not None and not 1 <= self.num_steps <= MAX_STEPS:
            raise SettingsError(f"num_steps: expected 1 to {MAX_STEPS}, got {self.num_steps}")
        _ = self.edit_settings, self.embed_settings

    @property
    def edit_settings(self) -> EditSettings:
        """What the engine is told about learning."""
        changes: dict[str, Any] = {"dilation": self.dilation}
        if self.num_steps is not None:
            changes["num_steps"] = self.num_steps
        return EditSettings.for_mode(self.preset, **changes)

    @property
    def embed_settings(self) -> EmbedSettings:
        """What the engine is told about embedding."""
        embedding = Embedding.parse(self.embed)
        return EmbedSettings(num_steps=embedding.num_steps, target=embedding.target_psnr)


@dataclass(frozen=True, kw_only=True)
class LearnRequest:
    """What is to be learned, and from which files.

    Attributes:
        address: ``class/name``; with ``@version`` it must be that version.
        image: The picture.
        mask_after: Its part mask, edited; an index PNG as large as the picture.
        mask_before: The mask before the edit; None segments the reconstruction.
        roi_labels: Parts that the edit may touch; none takes those that `mask_after` repaints,
            which needs `mask_before`.
        description: For the people who choose the vector.
        license: Of the vector.
        tags: To find it by.
        settings: How it is learned.
    """

    address: str
    image: Path
    mask_after: Path
    mask_before: Path | None = None
    roi_labels: tuple[str, ...] = ()
    description: str = ""
    license: str = ""
    tags: tuple[str, ...] = ()
    settings: LearnSettings = field(default_factory=LearnSettings)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any], *, folder: Path) -> Self:
        """Read an entry of a pair list.

        Args:
            entry: ``address``, ``image``, ``mask_after`` and, optionally, the other attributes.
            folder: What file names are relative to.

        Raises:
            SettingsError: A name is unknown or missing, or a value is of the wrong type.
        """
        values = dict(entry)
        unknown = set(values) - set(cls.__dataclass_fields__)
        missing = {"address", "image", "mask_after"} - set(values)
        if unknown or missing:
            what = f"unknown {sorted(unknown)}" if unknown else f"{sorted(missing)} missing"
            raise SettingsError(f"pair list: an entry has {what}")
        try:
            for name in ("image", "mask_after", "mask_before"):
                if values.get(name) is not None:
                    values[name] = folder / values[name]
            for name in ("roi_labels", "tags"):
                values[name] = tuple(map(str, values.get(name, ())))
            values["settings"] = LearnSettings(**values.get("settings", {}))
            return cls(**values)
        except TypeError as exc:
            raise SettingsError(f"pair list: {values.get('address')!r}: {exc}") from exc


def read_pair_list(path: Path) -> list[LearnRequest]:
    """Read a list of mask pairs: a JSON object with ``vectors``, file names relative to it.

    Raises:
        SettingsError: The file cannot be read or is no such list.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise SettingsError(f"pair list {path}: {exc}") from exc
    entries = content.get("vectors") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise SettingsError(f'pair list {path}: expected an object with a list "vectors"')
    if not all(isinstance(entry, dict) for entry in entries):
        raise SettingsError(f"pair list {path}: expected every entry to be an object")
    return [LearnRequest.from_json(entry, folder=path.parent) for entry in entries]
