"""What a user says about a generator that becomes a class: defaults and meanings. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from editvec.batch.errors import SettingsError
from editvec.settings import setting

if TYPE_CHECKING:
    from editvec.batch.classes.storing import Rectangle
    from editvec.registry.labels.scheme import LabelScheme


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """What a user says about a generator beside its file.

    Attributes:
        class_name: Lower case letters, digits, `-` and `_`.
        label_classes: Labels that a conditional generator is imported for.
        scheme: Label scheme of the class; None leaves one label, or those of a bundle.
        valid_rectangle: top, left, bottom, right in pixels; None takes the scheme's, else all.
        description: For people; empty says where the generator came from.
        license_name: Of the weights; empty if nobody knows.
    """

    class_name: str = setting(help="Name of the class.")
    label_classes: tuple[int, ...] = setting(
        (),
        help="The label that a conditional generator is taken for; several if it knows images "
        "with several.",
    )
    scheme: LabelScheme | None = None
    valid_rectangle: Rectangle | None = setting(
        None,
        kind=tuple,
        help="Where images have content, in pixels; the rest is padding. [default: the scheme's]",
    )
    description: str = setting("", help="What the class shows, for people.")
    license_name: str = setting("", help="License of the weights.")

    def __post_init__(self) -> None:
        """Check the name.

        Raises:
            SettingsError: It cannot be a class's.
        """
        from editvec.engine.bundle.description import CLASS_NAME

        if not CLASS_NAME.fullmatch(self.class_name):
            raise SettingsError(
                f"class: expected lower case letters, digits, - and _, got {self.class_name!r}"
            )
