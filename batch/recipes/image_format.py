"""The file format of output images: what `--format` takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self

from editvec.batch.errors import SettingsError
from editvec.batch.naming import IMAGE_SUFFIXES

Kind = Literal["png", "jpeg", "webp"]

_DEFAULT_QUALITY: dict[Kind, int] = {"jpeg": 95, "webp": 90}
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
