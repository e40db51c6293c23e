"""What is to be learned: the files, the parts, the settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from editvec.batch.errors import SettingsError
from editvec.batch.recipes.settings import MAX_STEPS, EmbeddingMethod
from editvec.engine.networks.trunks import PUBLISHED_TRUNKS, PublishedTrunk
from editvec.json_codec import JsonFields, as_json
from editvec.settings import check_settings, setting

if TYPE_CHECKING:
    from editvec.engine.editing.editing import EditSettings
    from editvec.engine.editing.inversion import EmbedSettings

Preset = Literal["learn", "released"]


@dataclass(frozen=True, kw_only=True)
class LearnSettings(JsonFields):
    """How a vector is learned.

    Attributes:
        preset: Loss weights and steps: "learn" for ours, "released" for those of the paper's
            published code; see `EditSettings.for_mode`.
        num_steps: Steps of learning; None takes the preset's own number.
        embed: Steps of embedding the image: ``encoder``, ``steps:N`` or ``target:DB``.
        dilation: ROI buffer in pixels of the generator's image; None goes by its resolution.
        trunk: Published trunk of LPIPS that images are compared by, in embedding, learning and
            measuring; None takes the class's own perceptual network.
    """

    written_if_given = frozenset({"trunk"})

    preset: Preset = setting(
        "learn",
        choices=get_args(Preset),
        help="Loss weights and steps: ours, or those of the paper's published code, made for "
        "--trunk vgg; its encoder term is left out where the class has no encoder.",
    )
    num_steps: int | None = setting(
        None,
        kind=int,
        least=1,
        most=MAX_STEPS,
        help="Steps of learning. [default: the preset's]",
    )
    embed: str = setting("steps:100", help="How the picture is embedded.")
    dilation: int | None = setting(None, kind=int, least=0, most=64, help="ROI buffer in pixels.")
    trunk: PublishedTrunk | None = setting(
        None,
        choices=PUBLISHED_TRUNKS,
        help="Compare images by published LPIPS, whose weights are downloaded once. [default: by "
        "the trunk that the class has]",
    )

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            SettingsError: One of them is out of its range.
        """
        check_settings(self, SettingsError)
        _ = self.edit_settings(), self.embed_settings

    @property
    def num_learning_steps(self) -> int:
        """Steps of learning, the preset's own number where none is given."""
        return self.edit_settings().num_steps

    def edit_settings(self, *, has_encoder: bool = True) -> EditSettings:
        """What the engine is told about learning.

        Args:
            has_encoder: False leaves out the preset's term that needs one.
        """
        from editvec.engine.editing.editing import EditSettings

        changes: dict[str, Any] = {"dilation": self.dilation}
        if self.num_steps is not None:
            changes["num_steps"] = self.num_steps
        return EditSettings.for_mode(self.preset, has_encoder=has_encoder, **changes)

    def left_out(self, networks: Collection[str]) -> str | None:
        """What a class cannot give the preset, in one line; None where nothing is missing.

        Args:
            networks: Names of the networks that the class has.
        """
        if "encoder" in networks or not self.edit_settings().weights.encoder_weight:
            return None
        return f"preset {self.preset}: without its encoder term, because the class has no encoder"

    @property
    def embed_settings(self) -> EmbedSettings:
        """What the engine is told about embedding."""
        from editvec.engine.editing.inversion import EmbedSettings

        embedding = EmbeddingMethod.parse(self.embed)
        return EmbedSettings(num_steps=embedding.num_steps, target=embedding.target_psnr)


@dataclass(frozen=True, kw_only=True)
class LearnRequest:
    """What is to be learned, and from which files.

    Attributes:
        address: ``class/name``; with ``@version`` it must be that version.
        image: The picture.
        mask_after: Its part mask, edited, of any form and as large as the picture.
        operation: Edits of the mask before, as text, instead of `mask_after`; see
            `registry/masks/operation_text.py`. Without `mask_before` they are done on the mask
            that is predicted for the middle square of the picture.
        mask_before: The mask before the edit; None segments the reconstruction.
        roi_labels: Parts that the edit may touch; none takes those that `operation` names or
            those that `mask_after` repaints, which needs `mask_before`.
        description: For the people who choose the vector.
        license: Of the vector.
        tags: To find it by.
        settings: How it is learned.
        accept_failure: Store the vector also when its edit reaches nothing of the mask.
    """

    address: str
    image: Path = setting(kind=Path, help="The picture.")
    mask_after: Path | None = setting(None, kind=Path, help="Its part mask, edited, of any form.")
    mask_before: Path | None = setting(
        None, kind=Path, help="The mask before the edit. [default: segmented]"
    )
    operation: str = setting(
        "",
        help="Edit the mask before by program instead of --mask-after: `mouth: scale 1.2x1, shift "
        "0,-2`, as in `editvec mask edit --operation`.",
    )
    roi_labels: tuple[str, ...] = setting((), help="Parts to edit. [default: those repainted]")
    description: str = setting("", help="What the vector does, for people.")
    license: str = setting("", help="License of the vector.")
    tags: tuple[str, ...] = setting((), help="A word to find it by; repeatable.")
    settings: LearnSettings = field(default_factory=LearnSettings)
    accept_failure: bool = setting(
        default=False,
        help="Store the vector also when its edit reaches nothing of the mask (IoU 0.000).",
    )

    def __post_init__(self) -> None:
        """Check that it is told in one way what the mask shall become.

        Raises:
            SettingsError: It is not, or in two ways; or `accept_failure` is no bool.
            OperationError: The operation is none.
        """
        if (self.mask_after is None) != bool(self.operation):
            raise SettingsError(f"{self.address}: give either mask_after or operation")
        if self.operation:
            from editvec.registry.masks.operation_text import parse_edits

            parse_edits(self.operation)
        if not isinstance(self.accept_failure, bool):
            raise SettingsError(
                f"{self.address}: accept_failure: expected true or false, got "
                f"{self.accept_failure!r}"
            )

    @classmethod
    def from_json(
        cls, entry: Mapping[str, Any], *, folder: Path, defaults: LearnSettings | None = None
    ) -> Self:
        """Read an entry of a pair list.

        Args:
            entry: ``address``, ``image``, ``mask_after`` or ``operation`` and, optionally, the
                other attributes.
            folder: What file names are relative to.
            defaults: Settings of an entry that does not give them.

        Raises:
            SettingsError: A name is unknown or missing, or a value is of the wrong type.
            OperationError: The operation is none.
        """
        from editvec.registry.masks.operation_text import place_pasted_files

        values = dict(entry)
        unknown = set(values) - set(cls.__dataclass_fields__)
        missing = {"address", "image"} - set(values)
        if not {"mask_after", "operation"} & set(values):
            missing.add("mask_after")
        if unknown or missing:
            what = f"unknown {sorted(unknown)}" if unknown else f"{sorted(missing)} missing"
            raise SettingsError(f"pair list: an entry has {what}")
        try:
            for name in ("image", "mask_after", "mask_before"):
                if values.get(name) is not None:
                    values[name] = folder / values[name]
            if values.get("operation"):
                values["operation"] = place_pasted_files(str(values["operation"]), folder)
            for name in ("roi_labels", "tags"):
                values[name] = tuple(map(str, values.get(name, ())))
            given = asdict(defaults) if defaults is not None else {}
            values["settings"] = LearnSettings(**{**given, **values.get("settings", {})})
            return cls(**values)
        except TypeError as exc:
            raise SettingsError(f"pair list: {values.get('address')!r}: {exc}") from exc

    def below(self, folder: Path) -> Self:
        """The same with names of files that do not depend on where this process is."""
        from editvec.registry.masks.operation_text import place_pasted_files

        before, after = self.mask_before, self.mask_after
        return replace(
            self,
            image=folder / self.image,
            mask_after=None if after is None else folder / after,
            mask_before=None if before is None else folder / before,
            operation=place_pasted_files(self.operation, folder) if self.operation else "",
        )

    def to_json(self, *, folder: Path) -> dict[str, Any]:
        """What `from_json` reads with the same folder: names below it are relative to it."""
        values: dict[str, Any] = as_json(self)
        for name in ("image", "mask_after", "mask_before"):
            path = getattr(self, name)
            if path is not None and path.is_relative_to(folder):
                values[name] = str(path.relative_to(folder))
        if not self.accept_failure:
            del values["accept_failure"]  # plans of before know no such word
        return values
