"""A change of page tables: operations on a draft, the plan that they make, and its commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pagewalk.doors import integer, shown
from pagewalk.editing import attributes, mapping, sizes
from pagewalk.editing.draft import Draft
from pagewalk.editing.frames import Frames
from pagewalk.editing.granted import check_granted
from pagewalk.editing.plan import Plan
from pagewalk.editing.twin import Twin
from pagewalk.editing.ways import checked_range
from pagewalk.errors import EditError
from pagewalk.formats import Kind, Leaf, rights_of
from pagewalk.formats.fields import KEY, MEMORY
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from os import PathLike

    from pagewalk.editing.commit import Committed
    from pagewalk.formats import Flag

__all__ = ["Change", "edit"]


def edit(tables: PageTables, *, frames: Iterable[tuple[int, int]] = (), free: bool = False) -> Change:
    """Begin a change of page tables. Nothing is written before ``commit``.

    Args:
        tables: The page tables; opened with ``writable=True`` if they are to be changed in place.
        frames: ``(start, end)`` of physical memory that new tables may take, in bytes, half-open; nothing else may be
            using it. Without, those of the tables' allocator.
        free: Refuse frames that these page tables map already, or that are tables of theirs.

    Returns:
        The change; a context manager, which drops what is not committed.

    Raises:
        TypeError: They are no page tables.
        ValueError: The frames are no ranges of whole frames.
        EditError: ``free``, and a frame is in use.
    """
    return Change(tables, frames=frames, free=free)


class Change:
    """Operations on page tables that nobody else sees yet: ``edit`` begins one.

    An operation that fails leaves the change as it was before it.

    Args:
        tables, frames, free: As ``edit``.

    Attributes:
        tables: The page tables as they are to be: everything that walks or asks works on them.
    """

    def __init__(self, tables: PageTables, *, frames: Iterable[tuple[int, int]] = (), free: bool = False) -> None:
        if not isinstance(tables, PageTables):
            raise TypeError(f"page tables are needed, not {shown(tables)}: open them first, or take an Mm's tables")
        self._frames = Frames(tables, frames, check=free)
        self._draft = Draft(tables, self._frames.allocator)
        self.tables = self._draft.tables
        self._twin = Twin(tables)
        self._spans: list[tuple[int, int]] = []
        self._unlinked: list[int] = []
        self._over = ""

    def __repr__(self) -> str:
        state = self._over or f"{len(self._spans)} operations"
        return f"<Change of {self._draft.before!r}: {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over = self._over or "dropped"

    # -- operations --------------------------------------------------------------------------------------------------

    def install(
        self,
        vaddr: int,
        paddr: int,
        size: int,
        rights: str,
        *,
        page_size: int | None = None,
        memory: int = 0,
        key: int = 0,
        state: Flag | None = None,
    ) -> None:
        """Map physical memory where nothing is mapped; missing tables are made.

        Args:
            vaddr, paddr, size: Whole pages, in bytes.
            rights: Four places, as a listing prints them: ``rw-u``.
            page_size: Bytes of a page; None: the smallest.
            memory, key: The numbers of memory type and protection key.
            state: ``Flag`` bits beside the rights, such as ``GLOBAL``; None: accessed, and dirty where writable.

        Raises:
            AlreadyMapped: An entry in the range is not empty.
            EditError: A table above withholds a right; a frame is in use, and that was to be checked.
            UnsupportedError: The format cannot say it.
            OutOfFrames: No frame for a table.
            WalkError, ValueError, TypeError: The range, an address or the rights are none.
        """
        paddr = integer(paddr, "paddr")
        leaf = Leaf(rights_of(rights), integer(memory, "memory"), integer(key, "key"), state)

        def work(span: tuple[int, int]) -> None:
            self._frames.refuse_used(paddr, paddr + span[1] - span[0])
            mapping.install(self._draft, span, paddr, leaf, page_size)

        self._do(vaddr, size, work, leaf.rights)

    def unmap(self, vaddr: int, size: int, *, split: bool = False, free_tables: bool = False) -> None:
        """Empty every entry of a range, whatever it holds.

        Args:
            vaddr, size: The range, in bytes.
            split: Split pages that reach out of it.
            free_tables: Unlink tables that are empty then.

        Raises:
            NeedsSplit: A page reaches out of the range.
            WalkError, TypeError: It is none.
        """
        self._do(vaddr, size, lambda span: mapping.unmap(self._draft, span, split=split, free_tables=free_tables))

    def remap(self, vaddr: int, paddr: int, size: int, *, split: bool = False) -> None:
        """Give pages other frames; all else that they say stays.

        Raises:
            EditError: A page is not there; a frame is in use, and that was to be checked.
            NeedsSplit: A page reaches out of the range.
            WalkError, ValueError, TypeError: The range or an address is none.
        """
        paddr = integer(paddr, "paddr")

        def work(span: tuple[int, int]) -> None:
            self._frames.refuse_used(paddr, paddr + span[1] - span[0])
            mapping.remap(self._draft, span, paddr, split=split)

        self._do(vaddr, size, work)

    def protect(self, vaddr: int, size: int, rights: str, *, split: bool = False) -> None:
        """Give pages these rights and no others; ``----`` is the operating system's PROT_NONE.

        Raises:
            EditError: No page is there; a table above withholds a right.
            NeedsSplit: A page reaches out of the range.
            UnsupportedError: The format cannot say it.
            WalkError, ValueError, TypeError: The range or the rights are none.
        """
        wanted = rights_of(rights)
        self._do(vaddr, size, lambda span: attributes.protect(self._draft, span, wanted, split=split), wanted)

    def set_memory(self, vaddr: int, size: int, number: int, *, split: bool = False) -> None:
        """Give pages another memory type: the number that an entry selects. Errors as ``protect``."""
        self._set(vaddr, size, MEMORY, number, split=split)

    def set_key(self, vaddr: int, size: int, number: int, *, split: bool = False) -> None:
        """Give pages another protection key. Errors as ``protect``."""
        self._set(vaddr, size, KEY, number, split=split)

    def _set(self, vaddr: int, size: int, name: str, number: int, *, split: bool) -> None:
        number = integer(number, name)
        self._do(vaddr, size, lambda span: attributes.set_number(self._draft, span, name, number, split=split))

    def set_software(self, vaddr: int, size: int, mask: int, value: int, *, split: bool = False) -> None:
        """Set bits of pages' entries that hardware and operating system leave to anybody.

        Raises:
            UnsupportedError: A bit means something.
            EditError, NeedsSplit, WalkError, ValueError, TypeError: As ``protect``.
        """
        mask, value = integer(mask, "mask"), integer(value, "value")
        self._do(vaddr, size, lambda span: attributes.set_software(self._draft, span, mask, value, split=split))

    def split(self, vaddr: int, size: int, *, page_size: int | None = None) -> None:
        """Make pages smaller, those that reach out of the range too.

        Args:
            vaddr, size: The range, in bytes.
            page_size: Bytes that a page shall have at most; None: each is split once.

        Raises:
            EditError: No page there is larger.
            UnsupportedError: There are no pages of that size.
            OutOfFrames: No frame for a table.
            WalkError, TypeError: The range is none.
        """
        self._do(vaddr, size, lambda span: sizes.split(self._draft, span, page_size))

    def merge(self, vaddr: int, size: int, *, page_size: int | None = None) -> None:
        """Make one page out of those that follow each other and say the same: the reverse of ``split``.

        Args:
            vaddr, size: The range, in bytes, whole pages of the new size.
            page_size: Bytes of the new pages; None: the next size.

        Raises:
            EditError: The pages cannot be one.
            UnsupportedError: There are no pages of that size.
            WalkError, TypeError: The range is none.
        """
        self._do(vaddr, size, lambda span: sizes.merge(self._draft, span, page_size))

    def mark(self, vaddr: int, size: int, name: str) -> None:
        """Put the operating system's marker of a name (``guard``, ``uffd_wp``, ``hwpoison``) where nothing is.

        Raises:
            AlreadyMapped: An entry is not empty.
            UnsupportedError: There is no such marker.
            OutOfFrames: No frame for a table.
            WalkError, TypeError: The range is none.
        """
        self._do(vaddr, size, lambda span: mapping.mark(self._draft, span, name))

    def unmark(self, vaddr: int, size: int, name: str) -> None:
        """Empty the entries of a range that hold a marker of a name; others stay as they are."""
        self._do(vaddr, size, lambda span: mapping.unmark(self._draft, span, name))

    def guard(self, vaddr: int, size: int) -> None:
        """Put guards where nothing is: as ``mark``."""
        self.mark(vaddr, size, Kind.GUARD.label)

    def unguard(self, vaddr: int, size: int) -> None:
        """Take guards away: as ``unmark``."""
        self.unmark(vaddr, size, Kind.GUARD.label)

    def _do(self, vaddr: int, size: int, work: Callable[[tuple[int, int]], Any], rights: Flag | None = None) -> None:
        """One operation: all of it, or nothing; afterwards the pages of the range must grant some rights, if any."""
        self._refuse_over()
        span = checked_range(self.tables, integer(vaddr, "vaddr"), integer(size, "size"))
        with self._draft.overlay.attempt(), self._frames.attempt():
            unlinked = work(span)
            self._twin.follow(self._draft)
            if rights:
                check_granted(self._twin.granting(self.tables), span, rights)
        self._spans.append(span)
        self._unlinked += unlinked or ()

    def _refuse_over(self) -> None:
        """Refuse what comes too late."""
        if self._over:
            raise EditError(f"this change was {self._over}: begin another")

    # -- what comes of it --------------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """What the operations so far change: every word, table and invalidation.

        Raises:
            EditError: The change was committed, or dropped.
        """
        self._refuse_over()
        return Plan(self._draft, self._spans, self._unlinked, self._twin.root)

    def commit(self, *, journal: str | PathLike[str] | None = None, to: str | PathLike[str] | None = None) -> Committed:
        """Write what is planned: in place, or to a copy.

        It is checked against what is there now, journalled, written, flushed, and proved by a fresh walk.

        Args:
            journal: Where to keep what is needed to take it back; the file must not be there yet. In place it may be
                left out; what is interrupted then cannot be mended.
            to: Where to make a copy of the source that has the change; the source stays as it is.

        Returns:
            What was done.

        Raises:
            Conflict: The memory is not any more what it was.
            MemoryWriteError: It was not opened with ``writable=True``; the connection was lost.
            UnsupportedError: A copy of such a source cannot be made, or written.
            OSError: The journal or the copy cannot be written.
            EditError: The change was committed, or dropped, before.
        """
        from pagewalk.editing.commit import commit

        done = commit(self.plan(), journal=journal, to=to)
        self._over = "committed"
        return done
