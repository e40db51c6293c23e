"""Run-length codes of masks: COCO's both ways, those of CVAT and Label Studio decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from editvec.registry.errors import MaskError

BoolArray = npt.NDArray[np.bool_]

_COCO_BITS = 5
_COCO_FIRST = 48
_COCO_MAX_GROUPS = 7
# Label Studio's code begins with the number of words, and the sizes of what follows, in bits.
_HEADER_BITS = 32 + 5 + 4 * 4
_CHANNELS = 4
_OPAQUE = 128


def decode_coco(counts: str | Sequence[Any], height: int, width: int, *, of: str) -> BoolArray:
    """The pixels of COCO's code: column by column, zeros first; bool [H, W].

    Args:
        counts: a list of lengths, or COCO's text of them.
        height: of the mask in pixels.
        width: of the mask in pixels.
        of: what messages call it.

    Raises:
        MaskError: the lengths are no lengths, or do not cover the mask.
    """
    lengths = _coco_lengths(counts, of=of) if isinstance(counts, str) else _lengths(counts, of=of)
    return _from_lengths(lengths, height * width, of=of).reshape((height, width), order="F")


def encode_coco(counts: npt.NDArray[np.int64]) -> str:
    """COCO's text of the lengths of runs: column by column, outside, inside, outside...

    From the fourth on, a length is written as its difference to the one before the last. Each
    number becomes groups of five bits, the lowest first, with a sixth that says whether more
    follow; the highest bit of the last group is the sign. 48 is added to make characters.
    """
    more, sign = 1 << _COCO_BITS, 1 << (_COCO_BITS - 1)
    rest = counts.copy()
    rest[3:] -= counts[1:-2]
    columns, used = [], []
    is_open = np.ones(len(rest), dtype=bool)
    while is_open.any():
        group = rest & (more - 1)
        rest = rest >> _COCO_BITS
        is_last = np.where(group & sign, rest == -1, rest == 0)
        columns.append(np.where(is_last, group, group | more) + _COCO_FIRST)
        used.append(is_open)
        is_open = is_open & ~is_last
    characters = np.stack(columns, axis=1).astype(np.uint8)[np.stack(used, axis=1)]
    return str(characters.tobytes(), "ascii")


def decode_cvat(text: str, height: int, width: int, *, of: str) -> BoolArray:
    """The pixels of CVAT's code, ``3, 5, 2``: row by row within a box, zeros first; bool [H, W].

    Raises:
        MaskError: the lengths are no lengths, or do not cover the box.
    """
    try:
        counts = [int(word) for word in text.split(",")]
    except ValueError as exc:
        raise MaskError(f"{of}: rle: expected numbers and commas, got {text!r:.40}") from exc
    return _from_lengths(_lengths(counts, of=of), height * width, of=of).reshape(height, width)


def decode_label_studio(code: Sequence[Any], height: int, width: int, *, of: str) -> BoolArray:
    """The pixels of Label Studio's brush: the opaque ones of an RGBA picture; bool [H, W].

    The code is a stream of bits. After the header comes one bit for each run: 1 = one word that
    is repeated, 0 = as many words as it is long; then two bits that choose the size of the
    length, the length less one, and the words.

    Raises:
        MaskError: no such code, or that of a picture of another size.
    """
    try:
        data = np.array(code, dtype=np.int64)
        bits = np.unpackbits(data.astype(np.uint8))
    except (ValueError, TypeError, OverflowError) as exc:
        raise MaskError(f"{of}: rle: expected a list of bytes") from exc
    if data.ndim != 1 or ((data < 0) | (data > 255)).any() or bits.size < _HEADER_BITS:
        raise MaskError(f"{of}: rle: expected a list of bytes")
    place = 0

    def read(count: int) -> int:
        nonlocal place
        if place + count > bits.size:
            raise MaskError(f"{of}: rle: it ends too early")
        taken = bits[place : place + count]
        place += count
        return int("".join("1" if bit else "0" for bit in taken), 2)

    number = read(32)
    if number != height * width * _CHANNELS:
        raise MaskError(
            f"{of}: rle: it holds {number} values, {width} x {height} pixels have "
            f"{height * width * _CHANNELS}"
        )
    word_bits = read(5) + 1
    length_bits = [read(4) + 1 for _ in range(4)]
    words = np.zeros(number, np.int64)
    begin = 0
    while begin < number:
        is_repeated = read(1)
        length = read(length_bits[read(2)]) + 1
        end = begin + length
        if end > number:
            raise MaskError(f"{of}: rle: its runs are longer than the picture")
        if is_repeated:
            words[begin:end] = read(word_bits)
        else:
            if place + length * word_bits > bits.size:
                raise MaskError(f"{of}: rle: it ends too early")
            taken = bits[place : place + length * word_bits].reshape(length, word_bits)
            words[begin:end] = taken @ (1 << np.arange(word_bits)[::-1])
            place += length * word_bits
        begin = end
    alpha: BoolArray = words.reshape(height, width, _CHANNELS)[..., 3] >= _OPAQUE
    return alpha


def _coco_lengths(text: str, *, of: str) -> npt.NDArray[np.int64]:
    """Each length is written in groups of five bits, from the fourth on as a difference."""
    lengths: list[int] = []
    number, shift = 0, 0
    for character in text:
        group = ord(character) - _COCO_FIRST
        if not 0 <= group < 2 << _COCO_BITS or shift >= _COCO_MAX_GROUPS * _COCO_BITS:
            raise MaskError(f"{of}: counts: {character!r} is not of COCO's code")
        number |= (group & ((1 << _COCO_BITS) - 1)) << shift
        shift += _COCO_BITS
        if group >> _COCO_BITS:
            continue
        if group >> (_COCO_BITS - 1) & 1:
            number -= 1 << shift
        lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
        number, shift = 0, 0
    if shift:
        raise MaskError(f"{of}: counts: the text ends within a number")
    return _lengths(lengths, of=of)


def _lengths(counts: Sequence[Any], *, of: str) -> npt.NDArray[np.int64]:
    if not all(type(count) is int and 0 <= count < 1 << 40 for count in counts):
        raise MaskError(f"{of}: counts: expected lengths of runs, 0 or more")
    return np.array(counts, np.int64)


def _from_lengths(lengths: npt.NDArray[np.int64], size: int, *, of: str) -> BoolArray:
    if int(lengths.sum()) != size:
        raise MaskError(f"{of}: its runs have {int(lengths.sum())} pixels, the mask has {size}")
    values = np.zeros(len(lengths), np.bool_)
    values[1::2] = True
    return np.repeat(values, lengths)
