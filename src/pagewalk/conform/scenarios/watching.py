"""Random scans for what was written, as userfaultfd tells it, which protects asynchronously, and soft-dirty pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk import abi
from pagewalk.abi.pagemap import PM_SCAN_CHECK_WPASYNC, PM_SCAN_WP_MATCHING, PageIs
from pagewalk.conform.scenarios import steps as do
from pagewalk.conform.scenarios.arena import At
from pagewalk.conform.scenarios.names import PAGE

if TYPE_CHECKING:
    from pagewalk.conform.scenarios.plan import Plan

__all__ = ["clear_refs", "protect_what_matches", "protected_and_dropped"]

_FLAGS = (PM_SCAN_WP_MATCHING,) * 6 + (PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,) * 2 + (PM_SCAN_CHECK_WPASYNC, 0)
_MASKS = (
    *(PageIs.WRITTEN,) * 4, 0, PageIs.PRESENT, PageIs.WRITTEN | PageIs.PRESENT, PageIs.WPALLOWED, PageIs.HUGE,
    PageIs.PFNZERO, PageIs.FILE, PageIs.SWAPPED,
)  # fmt: skip


def protect_what_matches(plan: Plan) -> do.Step:
    """Of a registered range, and then something is written or read, and looked for again."""
    at, length = plan.range(named=False)
    here = [one for one in plan.registered[-6:] if one[0] in plan.processes]
    if here and not plan.one_in(5):
        plan.process, first, pages = plan.choice(here)
        start = plan.draw.integer(0, pages - 1)
        at, length = At(first + start), plan.draw.integer(1, pages - start) * PAGE
    end = At(at.page + -(-length // PAGE))
    inside = At(at.page + plan.draw.integer(0, max(length // PAGE - 1, 0)))
    vector, most = plan.choice([64, 64, 64, 0, 1, 2]), plan.choice([0, 0, 0, 1, 3, 7])
    returns = plan.choice([0x1FF, 0x1FF, PageIs.WRITTEN, 0])

    def scan() -> do.Step:
        inverted, mask, anyof = plan.choice([0, 0, 0, PageIs.WRITTEN]), plan.choice(_MASKS), plan.choice([0, 0, 0x2A])
        flags = plan.choice(_FLAGS)
        wanted = int(inverted), int(mask), int(anyof), int(returns)
        return do.PagemapScan(At(at.page), end, int(flags), most, *wanted, vector, process=plan.process)

    touch = do.Write(inside, b"\xc3written", process=plan.process)
    plan.queue = [plan.choice([touch, touch, do.Read(inside, process=plan.process)]), scan()]
    return scan()


def protected_and_dropped(plan: Plan) -> do.Step:
    """A file's pages are protected, and dropped, in one way or another: that they are protected stays."""
    pages, who, first, offset = plan.pages(4), plan.process, plan.place(1), plan.draw.integer(0, 8) * PAGE
    at, length = At(first), pages * PAGE
    inside = At(first + plan.draw.integer(0, pages - 1))
    plan.note(first, pages)
    plan.registered.append((who, first, pages))
    data = b"\xc3dropped"
    plan.queue = [
        *[plan.choice([do.Write(inside, data, process=who), do.Read(inside, process=who)])] * plan.choice([0, 1, 1]),
        do.Register(at, length, unpopulated=plan.unpopulated, later=plan.later, process=who),
        do.WriteProtect(at, length, process=who),
        plan.choice([
            do.Madvise(at, length, abi.MADV_DONTNEED, process=who),
            do.Madvise(at, length, abi.MADV_PAGEOUT, process=who),
            do.PunchHole("a", offset, length, process=who),
            do.Truncate("a", offset, process=who),
        ]),
        plan.choice([do.Write(inside, data, process=who), do.Read(inside, process=who)]),
    ]  # fmt: skip
    flags = abi.MAP_FIXED | plan.choice([abi.MAP_SHARED, abi.MAP_SHARED, abi.MAP_PRIVATE])
    return do.Mmap(length, abi.PROT_READ | abi.PROT_WRITE, flags, at, "a", offset, process=who)


_CLEARED = (4,) * 16 + (1, 2, 3, 5)
_TOLD = PageIs.every() & ~PageIs.WRITTEN
"""What scans are told: not what depends on the kernel's version."""


def clear_refs(plan: Plan) -> do.Step:
    """Pages are soft-dirty no more; then something is written or read, and looked for."""
    at, length = plan.range(named=False)
    first, pages, soft = at.page, -(-length // PAGE), int(PageIs.SOFT_DIRTY)
    inside = At(first + plan.draw.integer(0, max(pages - 1, 0)))
    inverted, mask, anyof = plan.choice([0, 0, soft]), plan.choice([soft, soft, 0]), plan.choice([0, 0, soft])
    wanted = inverted, mask, anyof, int(_TOLD)
    touch = do.Write(inside, b"\xc3written", process=plan.process)
    plan.queue = [
        plan.choice([touch, touch, do.Read(inside, process=plan.process)]),
        do.PagemapScan(At(max(first - 2, 0)), At(first + pages + 2), 0, 0, *wanted, 64, process=plan.process),
    ]
    return do.ClearRefs(plan.choice(_CLEARED), process=plan.process)
