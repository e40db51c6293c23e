"""What a new version of a class no longer has, and why: said wherever a generator is registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from editvec.registry.entities.queries import VectorQuery
from editvec.registry.errors import ClassNotFoundError

if TYPE_CHECKING:
    from editvec.registry.entities.classes import ClassModel
    from editvec.registry.library.library import Library

_SUFFIX = ".safetensors"
_REASONS = {
    "segmentation": ("it reads features of that version's generator", "PAIRS"),
    "encoder": ("it finds latents of that version's generator", "[PHOTOS]"),
}


def former_version(library: Library, class_name: str) -> ClassModel | None:
    """The latest version of a class before it gets another; None where there is none."""
    try:
        return library.get_class(class_name)
    except ClassNotFoundError:
        return None


def succession_notes(library: Library, former: ClassModel | None, model: ClassModel) -> list[str]:
    """What of the former version the new one does not have, in a sentence each.

    Args:
        library: where both are.
        former: the latest version of before; None where there was none.
        model: the version that was stored.
    """
    if former is None or former.version >= model.version:
        return []
    notes = []
    has_same = former.generator_digest == model.generator_digest
    for name in sorted(_networks(former) - _networks(model)):
        reason, words = _REASONS.get(name, ("it reads pictures of another size", ""))
        if has_same or (not words and former.resolution == model.resolution):
            reason = "the new version was given without it"
        text = f"{model.address} has no {name}: that of {former.address} is dropped, {reason}"
        if words:
            text += f"; `editvec train {name} --class {model.name} {words}` makes one"
        notes.append(text)
    if former.labels != model.labels:
        notes.append(
            f"{model.address} has {len(model.labels)} parts of its own, not the "
            f"{len(former.labels)} of {former.address}: they are named by the new version"
        )
    if not has_same:
        query = VectorQuery(class_name=model.name)
        count = sum(
            vector.generator_digest == former.generator_digest
            for vector in library.iterate_vectors(query)
        )
        if count:
            word = "1 vector stays" if count == 1 else f"{count} vectors stay"
            notes.append(
                f"{word} with {former.address}: a vector belongs to the generator that it was "
                "learned for"
            )
    return notes


def _networks(model: ClassModel) -> set[str]:
    return {file.name.removesuffix(_SUFFIX) for file in model.files if file.name.endswith(_SUFFIX)}
