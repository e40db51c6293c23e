"""What a training of an encoder is told, and who watches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from editvec.batch.errors import SettingsError
from editvec.batch.quality.likeness import Unlike
from editvec.batch.quality.photographs import Photographs
from editvec.engine.images.images import Fit
from editvec.engine.networks.perceptual import PublishedTrunk
from editvec.engine.training.loop import OnProgress


@dataclass(frozen=True, kw_only=True)
class EncoderRequest:
    """What to train.

    Attributes:
        class_address: The class; its latest version that has the same generator gets a successor.
        photographs: Folder of photographs, also in its sub-folders; None for samples alone.
        fit: How photographs are brought to the square.
        warmup_steps: Batches of samples alone.
        joint_steps: Batches of as many photographs as samples, after that.
        batch_size: Images of a step.
        iterations: Passes of the encoder over an image.
        width: Channels of its first stage.
        training: Settings of both: `EncoderTraining`, all but the steps; `ws_steps` of the warm-up.
        keep_unlike: Train on photographs that do not look like the class, too.
        goes_on: Begin with the encoder that the class has.
        trunk: Published trunk of the perceptual distance; None takes the class's own.
        trunk_weights: File with its weights; None takes the usual cache, or downloads them.
        held_out: Samples, and at most so many photographs, that validations are made on.
        compared: Images of the table that compares ways to embed; 0 leaves it out.
        compared_steps: Steps of inversion in that table.
        seed: Of everything.
        save_seconds: Least time between two states on disk.
    """

    class_address: str
    photographs: Path | None = None
    fit: Fit = "crop"
    warmup_steps: int = 20_000
    joint_steps: int = 10_000
    batch_size: int = 16
    iterations: int = 1
    width: int = 32
    training: Mapping[str, Any] = field(default_factory=dict)
    keep_unlike: bool = False
    goes_on: bool = False
    trunk: PublishedTrunk | None = None
    trunk_weights: Path | None = None
    held_out: int = 64
    compared: int = 8
    compared_steps: int = 50
    seed: int = 0
    save_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: One is out of its range.
        """
        for name in ("warmup_steps", "batch_size", "held_out", "iterations", "width"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.photographs is not None and (self.joint_steps < 1 or self.batch_size < 2):
            raise SettingsError(
                "joint_steps, batch_size: expected at least 1 and 2, because photographs and "
                f"samples share a batch, got {self.joint_steps}, {self.batch_size}"
            )


class Watcher(NamedTuple):
    """Who is told what while an encoder is trained; nobody by default.

    Attributes:
        on_read: The photographs read and those of the folder.
        on_photographs: What the folder holds.
        on_unlike: Photographs that do not look like the class.
        on_phase: What is trained from now on.
        on_progress: After every step.
    """

    on_read: Callable[[int, int], None] | None = None
    on_photographs: Callable[[Photographs], None] | None = None
    on_unlike: Callable[[list[Unlike]], None] | None = None
    on_phase: Callable[[str], None] | None = None
    on_progress: OnProgress | None = None
