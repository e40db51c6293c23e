"""What goes to a terminal: foreign names and texts there can neither steer it nor turn lines round.

Nor do they show a password: see `masking.py`, which alone stands below.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, cast

from editvec.masking import masked, masked_urls

# Control characters except line end and tab, halves of letters, and what is invisible or turns the
# direction of a text; joiners (U+200C, U+200D) stay, for words and emoji are spelt with them.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e"
    r"\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]|\r(?!\n)"
)

_LINE_ENDS = str.maketrans({"\n": r"\n", "\r": r"\r", "\t": r"\t"})


class Control(str):
    """A sequence that steers the terminal and is ours: `PrintableStream` lets it pass."""

    __slots__ = ()


def printable(text: str) -> str:
    r"""A text of which nothing steers a terminal; escaped as in JSON, so that JSON stays JSON.

    Example:
        >>> print(printable("a\x1b[2Jb"))
        a\u001b[2Jb
    """
    return _UNPRINTABLE.sub(_escape, text)


def one_line(text: str) -> str:
    r"""A printable text that stays on its line: line ends and tabs in foreign names are escaped.

    Example:
        >>> print(one_line("a\nb\u2028c"))
        a\nb\u2028c
    """
    return printable(text).translate(_LINE_ENDS)


class PrintableStream:
    """A text stream that masks and escapes what is written to it, and is the given one in all else.

    Args:
        stream: the given one.
        mask: what hides secrets.
    """

    def __init__(self, stream: TextIO, mask: Callable[[str], str] = masked) -> None:
        self._stream = stream
        self._mask = mask

    def write(self, text: str | bytes) -> int:
        """Writes a text; a `Control` as it is."""
        if isinstance(text, bytes):
            # click asks by an empty write whether bytes are welcome, and sends those of a shell's
            # completion even though they are not
            if not text:
                raise TypeError("expected text")
            text = text.decode("utf-8", "surrogateescape")
        self._stream.write(text if isinstance(text, Control) else printable(self._mask(text)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes texts, one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # bytes would go past
            raise AttributeError(name)
        return getattr(self._stream, name)


@contextlib.contextmanager
def printable_streams() -> Iterator[None]:
    """Lets what is printed in the block go through `printable`, and hides secrets.

    On stdout those of URLs alone: a result may hold a word that is a password too.
    """
    out = cast(TextIO, PrintableStream(sys.stdout, masked_urls))
    err = cast(TextIO, PrintableStream(sys.stderr, masked))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
