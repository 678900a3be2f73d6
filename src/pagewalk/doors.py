"""The doors: what a public function takes for a number, and how a message shows what it does not take.

Numbers come from everywhere: NumPy's rows, JSON, a user's arithmetic. Every public function takes its own through
``integer``: past it there are Python's ints only, which neither wrap nor turn into floats. What is no integer is
refused, never rounded; so are True and False, which are no addresses, sizes or counts.
"""

from __future__ import annotations

import errno
import reprlib
from operator import index
from typing import TYPE_CHECKING, Any, Final

from pagewalk.errors import SystemCallError

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "choice",
    "int32",
    "integer",
    "integers",
    "not_negative",
    "plain",
    "printable",
    "refuse_pickling",
    "shortened",
    "shown",
    "word_array",
    "words",
]

_MOST_BITS: Final = 256
"""Wider numbers are refused: nothing here is that wide, and their digits would fill a message."""
_WIDTH: Final = 60
_REPR: Final = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _WIDTH


def integer(value: Any, what: str) -> int:
    """A number as Python's own int.

    Args:
        value: What somebody gave: any integer, NumPy's too.
        what: What it is, for the message.

    Raises:
        TypeError: It is no integer.
        ValueError: It is far too wide.
    """
    if type(value) is not int:
        if isinstance(value, bool):
            raise TypeError(f"{what} must be an integer, not {value}")
        try:
            value = index(value)
        except TypeError:
            raise TypeError(f"{what} must be an integer, not {shown(value)}") from None
    if value.bit_length() > _MOST_BITS:
        raise ValueError(f"{what} is a number of {value.bit_length():,} bits: no address or size has as many")
    return int(value)


def integers(**named: Any) -> tuple[int, ...]:
    """The same for several numbers, each by its name."""
    return tuple([integer(value, name) for name, value in named.items()])


def not_negative(value: Any, what: str) -> int:
    """A size or a count.

    Raises:
        TypeError: It is no integer.
        ValueError: It is negative.
    """
    value = integer(value, what)
    if value < 0:
        raise ValueError(f"{what} must not be negative: {value}")
    return value


def words(**named: Any) -> tuple[int, ...]:
    """What a system call takes: numbers that fit the CPU's registers, unsigned.

    Raises:
        TypeError: One is no integer.
        SystemCallError: EINVAL: one is negative, or wider than 64 bits.
    """
    values = integers(**named)
    for name, value in zip(named, values, strict=True):
        if value >> 64:
            raise SystemCallError(errno.EINVAL, f"{name} is {value:#x}: a system call takes 0 to 2^64 - 1")
    return values


def int32(value: int) -> int:
    """A word where a system call takes an ``int``: it does not see the upper half."""
    return value % (1 << 32)


def plain(data: Any) -> Any:
    """Bytes, or a view of some, one item a byte.

    Raises:
        TypeError: It is neither.
    """
    if type(data) is bytes:
        return data
    try:
        view = memoryview(data)
        return view if view.ndim == 1 and view.format == "B" else view.cast("B")
    except (TypeError, ValueError):
        raise TypeError(f"bytes are needed, not {shown(data)}") from None


def word_array(values: Any, what: str) -> Any:
    """Many numbers as uint64, none of them changed on the way.

    Args:
        values: An array of integers, shape (n,), or integers one by one.
        what: What one of them is, for the message.

    Raises:
        TypeError: They are no integers, or not in one dimension.
        ValueError: One is negative, or wider than 64 bits.
    """
    import numpy as np

    if not isinstance(values, np.ndarray):
        return np.array(_listed(values, what), np.uint64)
    if values.ndim != 1 or values.dtype.kind not in "ui":
        raise TypeError(f"{what} is an integer, in one dimension: not {values.dtype} of shape {values.shape}")
    if values.dtype.kind == "i" and len(values) and values.min() < 0:
        raise ValueError(f"{what} must not be negative: {values.min()}; those in the upper half are uint64")
    return np.ascontiguousarray(values, np.uint64)


def _listed(values: Any, what: str) -> list[int]:
    """Words one by one. NumPy alone would round: large and small ones together are floats to it."""
    if isinstance(values, str | bytes) or not hasattr(values, "__iter__"):
        raise TypeError(f"{what} is an integer, and many come in one dimension: not {shown(values)}")
    listed = [integer(value, what) for value in values]
    wrong = [value for value in listed if value >> 64]
    if wrong:
        raise ValueError(f"{what} must not be negative, nor wider than 64 bits: {wrong[0]:#x}")
    return listed


def choice(value: Any, what: str, choices: Collection[str]) -> str:
    """One of a few words.

    Raises:
        ValueError: It is none of them; the message names them.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{what} is one of {', '.join(map(repr, choices))}, not {shown(value)}")
    return value


def shown(value: object) -> str:
    """A value as a message shows it: on one line, and not all of a long one."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > _MOST_BITS:
        return f"a number of {value.bit_length():,} bits"
    try:
        return shortened(_REPR.repr(value))
    except Exception:  # a number in it is too long even to be written
        return f"a {type(value).__name__}"


def shortened(text: str, width: int = _WIDTH) -> str:
    """A text for one line: without control characters, a long one shortened in the middle."""
    text = printable(text)
    if len(text) <= width:
        return text
    head = (width - 3) // 2
    return f"{text[:head]}...{text[head + 3 - width :]}"


def printable(text: str) -> str:
    """A text as it can be shown: what would steer a terminal, or is not UTF-8, is escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def refuse_pickling(thing: object, remedy: str) -> TypeError:
    """The error for what can be neither pickled nor copied."""
    return TypeError(f"a {type(thing).__name__} can be neither pickled nor copied: {remedy}")
