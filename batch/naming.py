"""Names of outputs: from any bytes that a file system allows to names that every tool can read."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

MAX_COMPONENT_BYTES = 200
MAX_PATH_BYTES = 1200
# of output images, by their format; names are chosen so that any of them fits
IMAGE_SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
MASK_SUFFIX = ".png"

_ESCAPED = re.compile(r"[\x00-\x1f\x7f\\\udc80-\udcff]|%(?=[0-9A-Fa-f]{2})")


def display_path(path: bytes) -> str:
    r"""A path as text for people and JSON; bytes that are not UTF-8 become ``\xNN``."""
    return path.decode("utf-8", "backslashreplace")


def output_names(paths: Sequence[bytes]) -> list[str]:
    """One output name (relative path without suffix) for every input, no two alike.

    The names depend on the set of paths alone: not on chunks, order or a resume. ``a.png`` becomes
    ``a``; where ``a.jpg`` is beside it, they become ``a~jpg`` and ``a~png``. Bytes that are not
    UTF-8 and control characters are escaped as ``%NN``; long names are cut and carry a digest.

    Args:
        paths: relative paths as bytes.
    """
    stems = [_escape_path(_split_suffix(path)[0]) for path in paths]
    folders = {_escape_path(path[:end]) for path in paths for end in _slashes(path)}
    occupied = {
        folder.removesuffix(suffix)
        for folder in folders
        for suffix in IMAGE_SUFFIXES.values()
        if folder.endswith(suffix)
    }
    sharing = Counter(stems)

    def is_free(name: str) -> bool:
        return name not in occupied

    def is_alone(stem: str) -> bool:
        return sharing.get(stem) == 1 and is_free(stem)

    # in place of the stems: a million of them should be in memory once
    names = stems
    crowded = [index for index, stem in enumerate(stems) if not is_alone(stem)]
    wanted = {index: _with_suffix(stems[index], paths[index]) for index in crowded}
    wishes = Counter(wanted.values())
    for index, name in wanted.items():
        if wishes[name] > 1 or is_alone(name) or not is_free(name):
            digest = hashlib.sha256(paths[index]).hexdigest()[:16]
            name = _escape_path(f"{name}~{digest}".encode())
        names[index] = name
    return names


def _split_suffix(path: bytes) -> tuple[bytes, bytes]:
    """The path without its last suffix, and that suffix without its dot."""
    folder, slash, name = path.rpartition(b"/")
    stem, dot, suffix = name.rpartition(b".")
    if not dot or not stem:
        return path, b""
    return folder + slash + stem, suffix


def _with_suffix(stem: str, path: bytes) -> str:
    suffix = _escape(_split_suffix(path)[1])
    return f"{stem}~{suffix}"


def _slashes(path: bytes) -> list[int]:
    return [index for index, byte in enumerate(path) if byte == ord("/")]


def _escape_path(path: bytes) -> str:
    """Escapes and shortens every component; a path that stays too long becomes a digest."""
    components = [_shorten(_escape(component), component) for component in path.split(b"/")]
    escaped = "/".join(components)
    if len(escaped.encode()) <= MAX_PATH_BYTES:
        return escaped
    return f"long-paths/{hashlib.sha256(path).hexdigest()}"


def _escape(component: bytes) -> str:
    text = component.decode("utf-8", "surrogateescape")
    return _ESCAPED.sub(_percent, text)


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogateescape"))


def _shorten(text: str, component: bytes) -> str:
    if len(text.encode()) <= MAX_COMPONENT_BYTES:
        return text
    digest = hashlib.sha256(component).hexdigest()[:16]
    kept = text.encode()[: MAX_COMPONENT_BYTES - 17].decode("utf-8", "ignore")
    return f"{kept}~{digest}"
