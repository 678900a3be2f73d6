"""``capture``: a live process as an ``AddressSpace``, with page tables made from what the kernel tells of its pages.

How it works. ``reading`` asks the kernel, ``leaves`` turns its words into entries, ``build`` makes tables of them. The
tables lie in a ``Ram`` far above any real frame, so that an address in them is never mistaken for a frame's.

What a capture is, and what it is not, is said in ``docs/live.md``; its limits once more at ``capture``.
"""

from __future__ import annotations

import operator
import os
from typing import TYPE_CHECKING, Final

from pagewalk.formats import capture_format
from pagewalk.live.build import build
from pagewalk.live.kernel import running_kernel
from pagewalk.live.leaves import find_leaves
from pagewalk.live.processes import namespace_note
from pagewalk.live.procfs import check_page_size
from pagewalk.live.reading import joined_ranges, read_process
from pagewalk.space import ProcessSpace, VmaFlags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.formats import PagingFormat
    from pagewalk.live.leaves import Found
    from pagewalk.live.reading import Reading
    from pagewalk.tables import PageTables

__all__ = ["TABLES_BASE", "Capture", "capture"]

TABLES_BASE: Final = 1 << 50
"""Where a capture's tables begin: inside the format's 52 bits, beyond the frames of any machine."""

_SPARE: Final = 1 << 12
"""Frames to grow into, beyond those that splitting every huge page takes. Untouched, they cost nothing."""


class Capture(ProcessSpace):
    """What was in a process's page tables when it was looked at. A snapshot: it may be changed, the process is not.

    Attributes:
        pid: The process.
        frames_known: Whether the kernel told frame numbers and swap slots (CAP_SYS_ADMIN). If not, pages carry
            ``Flag.NO_FRAME`` and swap entries name slot 0 of device 0.
        complete: Nothing is known to have changed while it was read.
        changed: ``(start, end)`` ranges whose VMAs were not the same before and after, or hold pages that cannot be
            theirs: what is said of them is stale.
        page_table_bytes: What the kernel counts for its page tables (VmPTE: all but the top one, empty ones and those
            set aside for splitting huge pages too); None if it did not say. ``pagewalk.query.count_tables`` counts what
            this capture takes, which is what there would be at least.
        notes: What else to know, in sentences.
    """

    synthetic = True

    def __init__(self, reading: Reading, found: Found, tables: PageTables, pid: int) -> None:
        super().__init__(tables, reading.vmas, pid, zero_frames=found.zero)
        self.frames_known = found.known
        foreign = [(reading.vmas[at].start, reading.vmas[at].end) for at in found.foreign]
        self.changed = joined_ranges([*reading.changed, *foreign])
        self.page_table_bytes = reading.page_table_bytes
        self.notes = tuple(_notes(self))

    def __repr__(self) -> str:
        state = "" if self.complete else f", changed in {len(self.changed)} ranges"
        return f"<Capture of process {self.pid}: {len(self.vmas)} VMAs{state}>"


def capture(pid: int | None = None) -> Capture:
    """Capture the address space of a live process.

    The process runs on meanwhile. Each page's state was true at some moment of the reading, not all at the same one.
    VMAs are compared before, meanwhile and after: what differs is in ``changed``. One that was replaced and put back
    in between, with the same bounds, rights, file, offset and name, is noticed only if pages were found there that
    cannot be its own: a file's in private anonymous memory, anonymous ones in a shared mapping.

    Accessed and dirty are not known, frames to CAP_SYS_ADMIN only. VM_PFNMAP VMAs (``[vvar]``, device memory) are
    empty here, since the kernel does not show their pages; ``[vsyscall]``, which belongs to no process, is left out.

    Args:
        pid: The process, as ``/proc`` numbers it; None for this one. Where ``/proc`` belongs to another PID namespace
            than this process, ``notes`` say so.

    Returns:
        The address space, in one format whatever the machine (``tables.format``): with as many levels as it needs.

    Raises:
        ProcessError: ESRCH: no such process, all its threads ended meanwhile, or a kernel thread. EACCES: it may not be
            looked at.
        UnsupportedError: The kernel has no PAGEMAP_SCAN (Linux 6.7), or its pages are not 4096 bytes.
    """
    check_page_size()
    reading = read_process(0 if pid is None else operator.index(pid))
    top = max((vma.end for vma in reading.vmas), default=0)
    form = capture_format(top, running_kernel())
    found = find_leaves(form, reading)
    sizes = {depth: sum(len(some.vaddrs) for some in parts) for depth, parts in found.leaves.items()}
    huge = sum(count * _tables_of_split(form, depth) for depth, count in sizes.items())
    tables = build(form, found.leaves, base=TABLES_BASE, spare=huge + _SPARE)
    return Capture(reading, found, tables, pid or os.getpid())


def _tables_of_split(form: PagingFormat, depth: int) -> int:
    """How many tables it takes to split a page of a level down to the smallest."""
    below = form.levels[depth + 1 :]
    return 1 + below[0].entries * _tables_of_split(form, below[0].depth) if below else 0


def _notes(space: Capture) -> Iterator[str]:
    """What to know about a capture."""
    if note := namespace_note():
        yield note
    if not space.frames_known:
        yield "frame numbers and swap slots are not known: the kernel tells them to root (CAP_SYS_ADMIN) only"
    if space.changed:
        size = sum(end - start for start, end in space.changed)
        yield f"{size:#x} bytes of VMAs in {len(space.changed)} ranges changed while they were read: look again"
    hidden = int(VmaFlags.PFNMAP)
    if any(int(vma.flags) & hidden and not vma.name.startswith("[vvar") for vma in space.vmas):
        yield "the kernel does not show the pages of VM_PFNMAP VMAs, such as device memory"
