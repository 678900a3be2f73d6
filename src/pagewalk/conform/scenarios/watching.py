"""Random scans for what was written, as userfaultfd tells it, which protects asynchronously, and soft-dirty pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.abi.pagemap import PM_SCAN_CHECK_WPASYNC, PM_SCAN_WP_MATCHING, PageIs
from pagewalk.conform.scenarios import steps as do
from pagewalk.conform.scenarios.arena import At
from pagewalk.conform.scenarios.names import PAGE

if TYPE_CHECKING:
    from pagewalk.conform.scenarios.plan import Plan

__all__ = ["clear_refs", "protect_what_matches"]

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
