"""What the values of a record must be: each check names the value that it refuses."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from editvec.registry.addresses import MAX_VERSION, quote
from editvec.registry.entities.vectors import (
    ClassModel,
    Direction,
    Kind,
    LatentSpace,
    NewVector,
    RoiPolicy,
    TermRole,
)
from editvec.registry.errors import CompatibilityError, LabelNotFoundError, RecordError

if TYPE_CHECKING:
    from editvec.registry.library.parcels import ParcelDigests

_Value = TypeVar("_Value", Kind, LatentSpace, RoiPolicy, Direction, TermRole)


def content_digest_of(
    new: NewVector, model: ClassModel, digests: ParcelDigests, *, rows: int
) -> str:
    """What makes two vectors the same: generator, space, delta, rows and ROI; not their story."""
    content = [
        model.generator_digest,
        str(new.latent_space),
        digests.delta,
        row_mask_text(new.row_mask, num_ws=rows),
        list(new.roi_labels),
        str(new.roi_policy),
        dilation_of(new, model),
    ]
    if digests.brush is not None:  # only then: what has none keeps the digest that it always had
        content.append(digests.brush)
    canonical = json.dumps(content, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def check_ranges(new: NewVector) -> None:
    """Refuses a version that cannot be one, scales that contradict each other, and text as tags.

    Raises:
        RecordError: says which.
    """
    if new.version is not None and not 1 <= new.version <= MAX_VERSION:
        raise RecordError(
            f"vector {new.name}: expected a version of 1 or more, up to {MAX_VERSION}, "
            f"got {new.version}"
        )
    if new.scale_min is not None and new.scale_max is not None and new.scale_min > new.scale_max:
        raise RecordError(
            f"vector {new.name}: scale range from {new.scale_min} to {new.scale_max} is upside down"
        )
    below = new.scale_min is not None and new.default_scale < new.scale_min
    above = new.scale_max is not None and new.default_scale > new.scale_max
    if below or above:
        raise RecordError(
            f"vector {new.name}: default scale {new.default_scale} is outside of its usable range, "
            f"{new.scale_min} to {new.scale_max}"
        )
    refuse_text(new.tags, of="tags")


def refuse_text(names: object, *, of: str) -> None:
    """Refuses a text where several names are meant: it is a sequence of letters to Python.

    Raises:
        RecordError: it is a text.
    """
    if isinstance(names, str):
        raise RecordError(f"{of}: expected several names, got the text {quote(names)}")


def dilation_of(new: NewVector, model: ClassModel) -> int:
    """The ROI buffer in pixels; by default 3 at 512 px, scaled with the resolution, at least 1.

    Raises:
        RecordError: negative.
    """
    if new.dilation is None:
        return max(1, round(3 * model.resolution / 512))
    if new.dilation < 0:
        raise RecordError(f"dilation: expected 0 pixels or more, got {new.dilation}")
    return new.dilation


def check_origin(new: NewVector, model: ClassModel) -> None:
    """Refuses a vector of another generator.

    Raises:
        CompatibilityError: shows both digests.
    """
    if new.generator_digest is not None and new.generator_digest != model.generator_digest:
        raise CompatibilityError(
            f"vector {new.name}: it belongs to generator {new.generator_digest}, class "
            f"{model.address} has generator {model.generator_digest}"
        )


def checked_roi(new: NewVector, model: ClassModel) -> list[str]:
    """The ROI part names, every one known to the class and none twice; groups become their parts.

    Of a class whose parts nobody has named there is one, and nothing to choose.

    Raises:
        LabelNotFoundError: a part that the class does not have, or none where no brush stands in.
    """
    names: Sequence[str] = new.roi_labels
    if not names and len(model.labels) == 1 and new.roi_policy != RoiPolicy.BRUSH:
        names = model.label_names
    if isinstance(names, str) or not (names or new.roi_policy == RoiPolicy.BRUSH):
        raise LabelNotFoundError(
            f"ROI: expected at least one part of class {model.address}: "
            f"{', '.join(model.label_names)}"
        )
    if len(set(names)) != len(names):
        raise LabelNotFoundError(f"ROI: a part is named twice in {', '.join(names)}")
    return list(model.parts(names))


def row_mask_text(row_mask: Sequence[bool] | None, *, num_ws: int) -> str:
    """A row mask as one character per row of the delta; None means all rows.

    Raises:
        CompatibilityError: another length, or no row at all.
    """
    if row_mask is None:
        return "1" * num_ws
    if len(row_mask) != num_ws or not any(row_mask):
        raise CompatibilityError(
            f"row mask: expected {num_ws} values with one true at least, got {list(row_mask)}"
        )
    return "".join("1" if touched else "0" for touched in row_mask)


def parse_row_mask(text: str) -> tuple[bool, ...]:
    """The inverse of `row_mask_text`."""
    return tuple(character == "1" for character in text)


def one_of(kind: type[_Value], value: str, *, of: str) -> _Value:
    """The member of an enumeration.

    Raises:
        RecordError: lists the members.
    """
    try:
        return kind(value)
    except ValueError as exc:
        raise RecordError(f"{of}: expected one of {', '.join(kind)}, got {value!r}") from exc


def checked_number(value: float, *, of: str) -> float:
    """A finite float.

    Raises:
        RecordError: NaN or infinity, which no database keeps faithfully.
    """
    number = float(value)
    if not math.isfinite(number):
        raise RecordError(f"{of}: expected a finite number, got {value!r}")
    return number


def checked_text(value: str, *, of: str, max_length: int = 10_000) -> str:
    """A text that every database keeps faithfully.

    Raises:
        RecordError: too long, a NUL, or bytes that are not UTF-8.
    """
    if len(value) > max_length:
        raise RecordError(f"{of}: expected at most {max_length} characters, got {len(value)}")
    if "\0" in value or any("\ud800" <= one <= "\udfff" for one in value):
        raise RecordError(f"{of}: expected text, got {value[:60]!r}")
    return value


def optional_text(value: str | None, *, of: str, max_length: int) -> str | None:
    """A text as `checked_text` allows it, or None."""
    return None if value is None else checked_text(value, of=of, max_length=max_length)


def optional_number(value: float | None, *, of: str) -> float | None:
    """A finite float, or None."""
    return None if value is None else checked_number(value, of=of)


def checked_json(value: Mapping[str, Any], *, of: str) -> dict[str, Any]:
    """A dictionary that JSON can hold exactly.

    Raises:
        RecordError: NaN, or a type that JSON does not have.
    """
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError) as exc:
        raise RecordError(f"{of}: not JSON ({exc})") from exc
    return copy
