"""Names of outputs: from any bytes that a file system allows to names that every disk can hold."""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

MAX_COMPONENT_BYTES = 200
MAX_PATH_BYTES = 1200
# of output images, by their format; names are chosen so that any of them fits
IMAGE_SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
MASK_SUFFIX = ".png"

# Bytes that are not UTF-8, what Windows refuses, control characters, and what is invisible or turns
# the direction of a text; joiners (U+200C, U+200D) stay, for words and emoji are spelt with them.
_ESCAPED = re.compile(
    r"""[\x00-\x1f\x7f-\x9f\\<>:"|?*\udc80-\udcff"""
    r"""\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200e\u200f"""
    r"""\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd"""
    r"""\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"""
    r"""\U000e0000-\U000e007f]|%(?=[0-9A-Fa-f]{2})|[. ]\Z"""
)
# names of devices on Windows, whatever suffix they carry
_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3]) *(?:\.|\Z)",
    re.IGNORECASE,
)
_JOINERS = re.compile("[\u200c\u200d]")


def display_path(path: bytes) -> str:
    r"""A path as text for people and JSON; bytes that are not UTF-8 become ``\xNN``."""
    return path.decode("utf-8", "backslashreplace")


def output_names(paths: Sequence[bytes]) -> list[str]:
    """One output name (relative path without suffix) for every input, no two alike.

    Disks that fold case or normalise letters keep them apart too: no two have the same
    `folded_name`. The names depend on the set of paths alone: not on chunks, order or a resume.
    ``a.png`` becomes ``a``; where ``a.jpg`` is beside it, they become ``a~jpg`` and ``a~png``.
    Bytes that are not UTF-8 and what some system refuses are escaped as ``%NN``; long names are
    cut and carry a digest.

    Args:
        paths: relative paths as bytes.
    """
    stems = [_portable_path(_split_suffix(path)[0]) for path in paths]
    keys = [folded_name(stem) for stem in stems]
    folders = {path[:end] for path in paths for end in _slashes(path)}
    occupied = {
        folder.removesuffix(suffix)
        for folder in (folded_name(_portable_path(path)) for path in folders)
        for suffix in IMAGE_SUFFIXES.values()
        if folder.endswith(suffix)
    }
    sharing = Counter(keys)

    def is_alone(key: str) -> bool:
        return sharing.get(key) == 1 and key not in occupied

    # in place of the stems: a million of them should be in memory once
    names = stems
    crowded = [index for index, key in enumerate(keys) if not is_alone(key)]
    if not crowded:
        return names
    wanted = {index: _with_suffix(paths[index]) for index in crowded}
    wishes = Counter(map(folded_name, wanted.values()))
    left = []
    for index, name in wanted.items():
        key = folded_name(name)
        if wishes[key] > 1 or is_alone(key) or key in occupied:
            left.append(index)
        else:
            names[index], keys[index] = name, key
    if left:
        undecided = set(left)
        taken = {key for index, key in enumerate(keys) if index not in undecided} | occupied
        for index in sorted(left, key=paths.__getitem__):
            names[index] = _with_digest(paths[index], taken)
            taken.add(folded_name(names[index]))
    return names


def folded_name(name: str) -> str:
    """What names have in common that are one name to a disk that folds case or normalises.

    Example:
        >>> folded_name("Caf\u00e9") == folded_name("cafe\u0301")
        True
    """
    if name.isascii():
        lower = name.lower()
        return name if lower == name else lower
    # upper case first: some letters, such as the dotless i, meet another one only there
    upper = unicodedata.normalize("NFD", _JOINERS.sub("", name)).upper()
    once = unicodedata.normalize("NFC", upper.casefold())
    return unicodedata.normalize("NFC", once.casefold())


def portable_name(name: str) -> str:
    """A name for a file or a folder that every system takes; one that is such already is kept.

    Example:
        >>> portable_name("smile"), portable_name("CON"), portable_name("who?.")
        ('smile', '%43ON', 'who%3F%2E')
    """
    escaped = _ESCAPED.sub(_percent, name)
    if _DEVICE.match(escaped) is None:
        return escaped
    return f"%{ord(escaped[0]):02X}{escaped[1:]}"


def _split_suffix(path: bytes) -> tuple[bytes, bytes]:
    """The path without its last suffix, and that suffix without its dot."""
    folder, slash, name = path.rpartition(b"/")
    stem, dot, suffix = name.rpartition(b".")
    if not dot or not stem:
        return path, b""
    return folder + slash + stem, suffix


def _with_suffix(path: bytes) -> str:
    stem, suffix = _split_suffix(path)
    return _portable_path(stem + b"~" + suffix)


def _with_digest(path: bytes, taken: set[str]) -> str:
    """A name of which its digest makes an own one, even if somebody has chosen that very name."""
    stem, suffix = _split_suffix(path)
    for attempt in itertools.count():
        # no path holds a NUL
        digest = hashlib.sha256(path + b"\0" * attempt).hexdigest()[:16]
        name = _portable_path(stem + b"~" + suffix + b"~" + digest.encode())
        if folded_name(name) not in taken:
            return name
    raise AssertionError("numbers do not end")


def _slashes(path: bytes) -> list[int]:
    return [index for index, byte in enumerate(path) if byte == ord("/")]


def _portable_path(path: bytes) -> str:
    """Makes every component portable and short; a path that stays too long becomes a digest."""
    portable = "/".join(map(_component, path.split(b"/")))
    if len(portable.encode()) <= MAX_PATH_BYTES:
        return portable
    return f"long-paths/{hashlib.sha256(path).hexdigest()}"


def _component(component: bytes) -> str:
    return _shorten(portable_name(component.decode("utf-8", "surrogateescape")), component)


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogateescape"))


def _shorten(text: str, component: bytes) -> str:
    if len(text.encode()) <= MAX_COMPONENT_BYTES:
        return text
    digest = hashlib.sha256(component).hexdigest()[:16]
    kept = text.encode()[: MAX_COMPONENT_BYTES - 17].decode("utf-8", "ignore")
    return f"{kept}~{digest}"
