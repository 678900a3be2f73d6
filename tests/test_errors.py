"""Errors come back whole from wherever they were raised, and say a thing once."""

from __future__ import annotations

import copy
import errno
import pickle
from typing import TYPE_CHECKING, Any

import pytest

import pagewalk as pw
from pagewalk import errors

if TYPE_CHECKING:
    from collections.abc import Callable

RAISED = [
    pw.PagewalkError("why"),
    pw.MemoryReadError(0x1000, 8),
    pw.PageNotInDump(0x1000, 8, "left out of the dump"),
    pw.MemoryWriteError(0x1000, 8, "opened read-only"),
    pw.TranslationError(0x1000, 3, 7, "why"),
    pw.NotPresent(0x1000, 3, 7, "why"),
    pw.NonCanonical(1 << 47, -1, 0, "why"),
    pw.ReservedBits(0x1000, 3, 7, "why"),
    pw.Malformed(0x1000, 3, 7, "why"),
    pw.BadRoot(0x1001, "is misaligned"),
    pw.WalkError(errno.EINVAL),
    pw.WalkError(4711, "no errno of this system"),
    pw.OutOfFrames("none left"),
    pw.OutOfFrames("none left", 0x1000, 3),
    pw.ImageFormatError("truncated"),
    pw.LayoutError("regions overlap"),
    pw.UnsupportedError("not here"),
    pw.ProcessError(errno.ESRCH, "gone"),
    pw.SystemCallError(errno.ENOMEM, "no gap"),
    pw.MemoryFault(0x1000, "read", "why"),
    pw.SegmentationFault(0x1000, "write", "a guard"),
    pw.BusError(0x1000, "execute", "beyond the end"),
    pw.EditError("why", 0x1000),
    pw.AlreadyMapped("a page is there", 0x1000),
    pw.NeedsSplit("a page reaches out", 0x1000),
    pw.Conflict("a word has changed"),
]


def test_all_of_them_are_here() -> None:
    assert {type(error).__name__ for error in RAISED} == set(errors.__all__)


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("again", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_an_error_comes_back_whole(error: pw.PagewalkError, again: Callable[[object], Any]) -> None:
    """Type, text and attributes: a pool of worker processes hands them on."""
    error.add_note("a note")
    twin = again(error)
    assert type(twin) is type(error)
    assert (str(twin), repr(twin), twin.args, vars(twin)) == (str(error), repr(error), error.args, vars(error))
    if isinstance(error, OSError) and isinstance(twin, OSError):
        assert (twin.errno, twin.strerror) == (error.errno, error.strerror)


def test_an_error_of_somebody_elses_kind_comes_back_too() -> None:
    error = Unlucky("7 of 9")
    twin = pickle.loads(pickle.dumps(error))
    assert (type(twin), str(twin), twin.luck) == (Unlucky, str(error), "7 of 9")


class Unlucky(pw.PagewalkError):
    def __init__(self, luck: str) -> None:
        super().__init__(f"no luck: {luck}")
        self.luck = luck


def test_an_errno_is_said_once() -> None:
    """However often an error is wrapped in one of the same errno."""
    error: OSError = pw.OutOfFrames("no frame is free")
    for kind in (pw.SystemCallError, pw.WalkError):
        error = kind(errno.ENOMEM, str(error))
        assert str(error) == "ENOMEM: no frame is free"


def test_a_machine_that_is_full_says_so_once() -> None:
    mm = pw.Machine(1 << 20).mm()
    at = mm.mmap(8 << 20, 3)
    for ask in (lambda: mm.madvise(at, 8 << 20, pw.MADV_POPULATE_WRITE), lambda: mm.mlock(at, 8 << 20)):
        with pytest.raises(pw.SystemCallError) as caught:
            ask()
        words = str(caught.value).split(": ")
        assert len(words) == len(set(words)), caught.value
