"""Committing a plan, bringing back what was interrupted, and undoing it: each leaves the old words or the new ones.

How it works. What is there is compared with what the plan was made on; the journal is on disk before the first word is
written, and says *committed* only when everything has been written and read back. So whatever is interrupted, and
wherever: a journal that is not whole means that nothing was written; one that says nothing more, that each byte is an
old one or a new one, and ``recover`` makes all of them old; one that says *committed*, that all are new.
"""

from __future__ import annotations

from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from pagewalk.doors import shown
from pagewalk.editing.journal import COMMITTED, UNDOING, UNDONE, WRITING, Journal, Run
from pagewalk.editing.target import copied
from pagewalk.errors import Conflict, EditError, ImageFormatError, MemoryWriteError, PagewalkError, UnsupportedError
from pagewalk.memory import read_each, read_exactly, write_to
from pagewalk.memory.address import address_of, reopened
from pagewalk.memory.machines.wire import told
from pagewalk.memory.protocol import is_writable
from pagewalk.sweep import mappings
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from os import PathLike
    from pathlib import Path

    from pagewalk.editing.plan import Plan
    from pagewalk.memory import Memory

__all__ = ["Committed", "commit", "recover", "undo"]


_ROW: Final = np.dtype([("vaddr", "u8"), ("paddr", "u8"), ("size", "u8"), ("flags", "u4"), ("kind", "u1")])
"""What a fresh walk must find as planned."""


class Committed(NamedTuple):
    """What was done.

    Attributes:
        words: How many words were written.
        flushed: How often the machine was told to forget, once for a page or once for all; 0: it is none that runs, or
            there was nothing to forget.
        journal: Where the journal is; None: there is none.
        to: The copy that was written to; None: it was done in place.
    """

    words: int
    flushed: int = 0
    journal: Path | None = None
    to: Path | None = None


def commit(plan: Plan, *, journal: str | PathLike[str] | None, to: str | PathLike[str] | None) -> Committed:
    """Do what a plan says: ``Change.commit`` has the details."""
    memory = plan.draft.before.memory
    if to is None:
        if not is_writable(memory):
            raise MemoryWriteError(0, 0, f"{type(memory).__name__} cannot be written: commit to a copy (to=, -o)")
        return _commit(plan, memory, journal)
    with copied(memory, to, at_once=journal is not None) as copy:
        return _commit(plan, copy.memory, journal)._replace(to=copy.path)


def _commit(plan: Plan, memory: Memory, path: str | PathLike[str] | None) -> Committed:
    """Do it to a memory."""
    runs = [Run(*run) for run in plan.runs()]
    with paused(memory):
        _refuse_changed(memory, runs, old=True)
        journal = None if path is None else Journal.begin(path, _head(plan, memory), runs)
        try:
            _write(memory, [(run.paddr, run.new) for run in runs])
            flushed = forget(memory, [(flush.vaddr, flush.size) for flush in plan.flushes], every=bool(plan.shared))
            _prove(plan, memory, runs)
            if journal is not None:
                journal.reach(COMMITTED)
        except BaseException as error:
            _give_up(memory, runs, journal, error)
            raise
    return Committed(len(plan), flushed, None if journal is None else journal.path)


def _give_up(memory: Memory, runs: Sequence[Run], journal: Journal | None, error: BaseException) -> None:
    """Take back what was written of a change that failed; where that fails too, say how it is done later."""
    try:
        met = list(zip(runs, _now(memory, runs), strict=True))
        if any(_is_foreign(run, now) for run, now in met):
            raise Conflict("something else has written there")
        touched = [run for run, now in met if now != run.old]
        _write(memory, [(run.paddr, run.old) for run in reversed(touched)])
        if touched:
            forget(memory, (), every=True)
        _refuse_changed(memory, runs, old=True)
    except (PagewalkError, OSError):
        remedy = "without a journal nothing takes it back"
        if journal is not None:
            remedy = f"pagewalk edit --recover {journal.path} takes it back"
        error.add_note(f"it may be written in part: {remedy}")
        return
    if journal is not None:
        journal.drop()


def _head(plan: Plan, memory: Memory) -> dict[str, Any]:
    """What a journal says of the memory and of the change."""
    tables = plan.draft.tables
    return {
        "memory": address_of(memory),
        "format": tables.format.name,
        "root": f"{tables.root:#x}",
        "flushes": [[flush.vaddr, flush.size] for flush in plan.flushes],
    }


def _write(memory: Memory, parts: Iterable[tuple[int, bytes]]) -> None:
    """Write, and have it where it is to stay."""
    for paddr, data in parts:
        write_to(memory, paddr, data)
    if (sync := getattr(memory, "sync", None)) is not None:
        sync()


def _prove(plan: Plan, memory: Memory, runs: Sequence[Run]) -> None:
    """Read back what was written, and walk what was changed, from the root on."""
    _refuse_changed(memory, runs, old=False)
    tables = plan.draft.tables
    fresh = PageTables(memory, None, tables.format, windows=tables.windows)
    for span in plan.spans:
        found, planned = (mappings(one, *span).records(_ROW) for one in (fresh, tables))
        if not np.array_equal(found, planned):
            raise Conflict(f"[{span[0]:#x}, {span[1]:#x}) does not translate as planned: something else writes there")


def _refuse_changed(memory: Memory, runs: Sequence[Run], *, old: bool) -> None:
    """Refuse memory that is not what it should be.

    Raises:
        Conflict: It is not; the message names the first word that differs.
    """
    for run, now in zip(runs, _now(memory, runs), strict=True):
        wanted = run.old if old else run.new
        if now != wanted:
            raise _conflict(run, now, wanted, "the change was planned" if old else "it was written")


def _now(memory: Memory, runs: Sequence[Run]) -> list[bytes]:
    """What is there where runs are: those of one size together, as a far memory is asked."""
    by_size: dict[int, list[int]] = {}
    for at, run in enumerate(runs):
        by_size.setdefault(len(run.new), []).append(at)
    found: list[bytes] = [b""] * len(runs)
    for size, places in by_size.items():
        for at, data in zip(places, read_each(memory, [runs[at].paddr for at in places], size), strict=True):
            found[at] = read_exactly(memory, runs[at].paddr, size) if data is None else data
    return found


def _conflict(run: Run, now: bytes, wanted: bytes, since: str) -> Conflict:
    """The error for a word that differs."""
    at = next(at for at in range(len(now)) if now[at] != wanted[at]) & ~7
    is_now, was = (int.from_bytes(data[at : at + 8], "little") for data in (now, wanted))
    what = f"the word at physical {run.paddr + at:#x} is {is_now:#x} and not {was:#x}"
    return Conflict(f"{what}: something else has changed it since {since}")


# -- taking back -------------------------------------------------------------------------------------------------------


def undo(path: str | PathLike[str], memory: Memory | None = None) -> Committed:
    """Take back what a journal says was committed. Changes the memory.

    Args:
        path: The journal; it is kept, and says so then.
        memory: The memory, if it cannot be opened again by what the journal says: RAM of this process.

    Returns:
        What was done.

    Raises:
        Conflict: Something else has changed the words since; nothing is written then.
        EditError: Nothing was committed, or it is undone already, or it was interrupted: ``recover``.
        ImageFormatError: It is no journal.
        OSError, MemoryWriteError, UnsupportedError: It cannot be read, or the memory cannot be opened or written.
    """
    journal = Journal.load(path)
    if journal.state != COMMITTED:
        raise EditError(f"{shown(str(path))}: {_NOT_TO_UNDO[journal.state]}")
    with _opened(journal, memory) as target, paused(target):
        _refuse_changed(target, journal.runs, old=False)
        journal.reach(UNDOING)
        return _back(journal, target)


_NOT_TO_UNDO = {
    "": "it was never whole, and nothing was written: recover removes it",
    WRITING: "the change was interrupted: recover takes it back",
    UNDOING: "undoing was interrupted: recover goes on with it",
    UNDONE: "it is undone already",
}


def recover(path: str | PathLike[str], memory: Memory | None = None) -> Committed:
    """Bring memory back to what it was before a change that was interrupted, or whose undoing was. Changes the memory.

    A journal that was never whole is removed: nothing was written then. Of one that is committed or undone nothing is
    to be done.

    Args:
        path: The journal.
        memory: As of ``undo``.

    Returns:
        What was done.

    Raises:
        Conflict: A byte is neither what it was nor what it was to be: something else has written there. Nothing is
            written then.
        ImageFormatError, OSError, MemoryWriteError, UnsupportedError: As ``undo``.
    """
    journal = Journal.load(path)
    if not journal.state:
        journal.drop()
        return Committed(0)
    if journal.state in (COMMITTED, UNDONE):
        return Committed(0, journal=journal.path)
    with _opened(journal, memory) as target, paused(target):
        for run, now in zip(journal.runs, _now(target, journal.runs), strict=True):
            if _is_foreign(run, now):
                raise _conflict(run, now, run.old, "the change was interrupted")
        return _back(journal, target)


def _is_foreign(run: Run, now: bytes) -> bool:
    """Whether a byte is neither an old one nor a new one: a word may have been written in part."""
    is_now, old, new = (np.frombuffer(data, np.uint8) for data in (now, run.old, run.new))
    return bool(((is_now != old) & (is_now != new)).any())


def _back(journal: Journal, memory: Memory) -> Committed:
    """Write the old words, in the reverse order, and say so."""
    try:
        _write(memory, [(run.paddr, run.old) for run in reversed(journal.runs)])
        flushed = forget(memory, (), every=True)
        _refuse_changed(memory, journal.runs, old=True)
        journal.reach(UNDONE)
    except (PagewalkError, OSError) as error:
        error.add_note(f"it may be undone in part: pagewalk edit --recover {journal.path} goes on with it")
        raise
    return Committed(sum(len(run.old) for run in journal.runs) // 8, flushed, journal.path)


def _opened(journal: Journal, memory: Memory | None) -> AbstractContextManager[Memory]:
    """The memory that a journal is of."""
    if memory is not None:
        return nullcontext(memory)
    where = journal.head.get("memory")
    if where is None:
        raise UnsupportedError(f"{journal.path}: its memory has no address, it was a process's own: give it (memory=)")
    return closing(reopened(where))


# -- machines that run -------------------------------------------------------------------------------------------------


def paused(memory: Memory) -> AbstractContextManager[object]:
    """A running machine, held meanwhile; of anything else, nothing."""
    hold: Callable[[], AbstractContextManager[object]] | None = getattr(memory, "paused", None)
    return nullcontext() if hold is None else hold()


def forget(memory: Memory, ranges: Sequence[tuple[int, int]], *, every: bool = False) -> int:
    """Have a running machine's CPUs forget translations: those of ranges, or all; how often, 0 where nothing runs.

    Raises:
        MemoryWriteError: The machine does not answer.
    """
    tell: Callable[[Sequence[tuple[int, int]]], int] | None = getattr(memory, "forget", None)
    if tell is None or not (ranges or every):
        return 0
    try:
        return tell(() if every else ranges)
    except (OSError, ImageFormatError) as error:
        failed = MemoryWriteError(0, 0)
        failed.args = (f"CPUs cannot be told to forget translations: {told(error)}",)
        raise failed from error
