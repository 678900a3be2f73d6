"""Walks that write down what they are told, in the reference's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pagewalk as pw
from tests.reference import NAMES, Call

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRIES_AND_HOLES = (*NAMES, "pte_hole")


def recording_ops(
    present: frozenset[str],
    calls: list[Call],
    *,
    install: Callable[[int], int | None] | None = None,
    skip: Callable[[int], bool] = lambda start: False,
) -> pw.WalkOps:
    """Ops with these callbacks, all of which only write themselves down."""

    def entry_callback(name: str, depth: int) -> Callable[..., None]:
        def callback(entry: pw.Entry, addr: int, next_: int, walk: pw.Walk) -> None:
            calls.append(Call(name, addr, next_, depth, _shown(entry.value, depth)))

        return callback

    def pte_hole(addr: int, next_: int, depth: int, walk: pw.Walk) -> None:
        calls.append(Call("pte_hole", addr, next_, depth))

    def hugetlb_entry(entry: pw.Entry, hmask: int, addr: int, next_: int, walk: pw.Walk) -> None:
        calls.append(Call("hugetlb_entry", addr, next_, None, _shown(entry.value, entry.level.depth)))

    def test_walk(addr: int, next_: int, walk: pw.Walk) -> int:
        calls.append(Call("test_walk", addr, next_))
        assert walk.vma is not None
        return int(skip(walk.vma.start))

    def pre_vma(start: int, end: int, walk: pw.Walk) -> None:
        calls.append(Call("pre_vma", start, end))

    def post_vma(walk: pw.Walk) -> None:
        calls.append(Call("post_vma", 0, 0))

    def install_pte(addr: int, next_: int, walk: pw.Walk) -> Any:
        calls.append(Call("install_pte", addr, next_))
        assert install is not None
        value = install(addr)
        return pw.SKIP if value is None else value

    known: dict[str, Any] = {name: entry_callback(name, depth) for depth, name in enumerate(NAMES)}
    known |= {f.__name__: f for f in (pte_hole, hugetlb_entry, test_walk, pre_vma, post_vma)}
    chosen = {name: known[name] for name in present}
    return pw.WalkOps(**chosen, install_pte=install_pte if install else None)


def _shown(value: int, depth: int) -> int | str:
    """The value, or "table" for an entry that points to one."""
    return "table" if value & 1 and depth < 4 and not (depth in (2, 3) and value & 0x80) else value
