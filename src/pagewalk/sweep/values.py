"""What is to be installed: one value for all pages, one a page, or what a callback says."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import numpy as np

from pagewalk.doors import integer
from pagewalk.errors import WalkError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from pagewalk.formats import PagingFormat

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]
    Asked = Words | tuple[Words, Mask]

__all__ = ["Refused", "Values", "values_of"]


class Refused(Exception):
    """A callback failed, or gave a value that is no entry; carries the first ``good`` values and the reason."""

    def __init__(self, good: tuple[Any, Mask | None], count: int, reason: BaseException) -> None:
        super().__init__(str(reason))
        self.good = good
        self.count = count
        self.reason = reason


class Values:
    """One value for all pages.

    Args:
        form: The paging format.
        value: The raw entry.
    """

    at_once = 1 << 30
    """Tables that may be asked for at a time."""

    def __init__(self, form: PagingFormat, value: int) -> None:
        self.value = np.uint64(value)
        check_entries(form, np.array([value], np.uint64), 0)

    def take(self, vaddr: int, wanted: Mask | None, count: int) -> tuple[Any, Mask | None]:
        """Values for ``count`` pages from ``vaddr`` on, of which only those in ``wanted`` matter (None: all).

        Returns:
            A value for all or one each, and which pages to leave empty (None: none of them).

        Raises:
            Refused: There is no value for one of them.
        """
        return self.value, None


class ArrayValues(Values):
    """One value a page of the range."""

    def __init__(self, form: PagingFormat, start: int, values: Words, skip: Mask | None) -> None:
        self._start = start
        self._shift = form.page_size.bit_length() - 1
        self._values = values
        self._skip = skip
        check_entries(form, values if skip is None else values[~skip], start)

    def take(self, vaddr: int, wanted: Mask | None, count: int) -> tuple[Any, Mask | None]:
        """See ``Values``."""
        first = vaddr - self._start >> self._shift
        some = slice(first, first + count)
        return self._values[some], None if self._skip is None else self._skip[some]


class CallbackValues(Values):
    """What a callback says, some thousand pages at a time."""

    at_once = 64

    def __init__(self, form: PagingFormat, callback: Callable[[Words], Asked]) -> None:
        self._form = form
        self._callback = callback

    def take(self, vaddr: int, wanted: Mask | None, count: int) -> tuple[Any, Mask | None]:
        """See ``Values``."""
        places = np.arange(count) if wanted is None else np.flatnonzero(wanted)
        values, skip = np.zeros(count, np.uint64), np.ones(count, np.bool_)
        if len(places):
            vaddrs = places.astype(np.uint64) * np.uint64(self._form.page_size) + np.uint64(vaddr)
            self._ask(vaddrs, places, values, skip)
        return values, skip

    def _ask(self, vaddrs: Words, places: Any, values: Words, skip: Mask) -> None:
        """Call, and keep what is good of the answer."""
        first = int(places[0])
        try:
            answer = self._callback(vaddrs)
            given, left_out = answer if isinstance(answer, tuple) else (answer, np.zeros(len(vaddrs), np.bool_))
            given = words_of(given, len(vaddrs))
            left_out = np.broadcast_to(left_out, len(vaddrs))
        except BaseException as error:
            raise Refused((values, skip), first, error) from error
        left_out = np.asarray(left_out, np.bool_)
        values[places], skip[places] = given, left_out
        bad = np.flatnonzero(~left_out & self._form.is_none(given))
        if len(bad):
            at = int(places[bad[0]])
            skip[at:] = True
            why = (
                f"the callback gave {int(given[bad[0]]):#x} for {int(vaddrs[bad[0]]):#x}: not an entry; skip it instead"
            )
            raise Refused((values, skip), at, ValueError(why))


def words_of(values: Any, count: int) -> Words:
    """``count`` raw values as uint64, none of them changed on the way.

    Raises:
        TypeError: They are no integers, or not so many.
        WalkError: One is negative: it stands for -errno.
    """
    values = np.asarray(values)
    if values.shape != (count,):
        raise TypeError(f"{count} pages need {count} values, not an array of shape {values.shape}")
    if values.dtype.kind not in "ui":
        raise TypeError(f"raw entries are integers, not {values.dtype}")
    if values.dtype.kind == "i" and len(values) and int(values.min()) < 0:
        raise WalkError(-int(values[values < 0][0]))
    return values.astype(np.uint64, copy=False)


def check_entries(form: PagingFormat, values: Words, start: int) -> None:
    """Refuse values that are empty entries.

    Raises:
        ValueError: One is.
    """
    empty = form.is_none(values)
    if empty.any():
        raise ValueError(f"{int(values[empty][0]):#x} is not an entry (to be installed from {start:#x} on): skip it")


def values_of(form: PagingFormat, start: int, end: int, value: Any, skip: Any) -> Values:
    """What ``install`` was given.

    Raises:
        TypeError, ValueError: It is none of the three, or does not fit the range.
        WalkError: A negative value.
    """
    pages = (end - start) // form.page_size
    if callable(value):
        if skip is not None:
            raise TypeError("a callback says itself what to skip: return (values, skip)")
        return CallbackValues(form, value)
    if isinstance(value, np.ndarray) or skip is not None:
        values = words_of(np.full(pages, value, np.uint64) if np.ndim(value) == 0 else value, pages)
        mask = None if skip is None else np.asarray(skip, np.bool_)
        if mask is not None and mask.shape != (pages,):
            raise TypeError(f"{pages} pages need as many in skip=, not an array of shape {mask.shape}")
        return ArrayValues(form, start, values, mask)
    number = integer(value, "an entry")
    if number < 0:
        raise WalkError(-number, errno.errorcode.get(-number, ""))
    if number & form.word.mask != number:
        raise ValueError(f"{number:#x} does not fit an entry")
    return Values(form, number)
