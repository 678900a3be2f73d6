"""The oracle of listings: which pages join to one row."""

from __future__ import annotations

from typing import NamedTuple


class Page(NamedTuple):
    """One row of a listing: a page or what stands in its place; ``frame`` is None where there is none."""

    vaddr: int
    frame: int | None
    size: int
    span: int
    alike: tuple[int, ...]


def joined(pages: list[Page]) -> list[tuple[int, int | None, int, tuple[int, ...], bool]]:
    """Rule: "Rows join while the frames go on, or while all pages have the *same* frame"; the latter first.

    Returns:
        vaddr, first frame, size, what all pages have alike, and whether they all have that one frame.
    """

    def neighbours(low: Page, high: Page) -> bool:
        return low.vaddr + low.size == high.vaddr and low.alike == high.alike and low.span == high.span

    def same(at: int) -> bool:
        if not 0 <= at < len(pages) - 1:
            return False
        low, high = pages[at], pages[at + 1]
        return neighbours(low, high) and low.frame is not None and low.frame == high.frame and low.size == low.span

    def follows(at: int) -> bool:
        low, high = pages[at], pages[at + 1]
        if not neighbours(low, high) or same(at - 1) or same(at + 1):
            return False
        return high.frame == (None if low.frame is None else low.frame + low.size)

    rows: list[tuple[int, int | None, int, tuple[int, ...], bool]] = []
    for at, page in enumerate(pages):
        if rows and (same(at - 1) or follows(at - 1)):
            vaddr, frame, size, alike, _ = rows.pop()
            rows.append((vaddr, frame, size + page.size, alike, same(at - 1)))
        else:
            rows.append((page.vaddr, page.frame, page.size, page.alike, False))
    return rows
