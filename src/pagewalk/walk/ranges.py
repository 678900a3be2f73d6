"""The entry points: which ranges a walk goes over, and who may ask for what.

Named and ordered as in the kernel (``mm/pagewalk.c``, 6.18). Those that end in ``_mm`` accept ``install_pte``: they
are for the memory-management code, ``mm/`` and ``edit/``, and not among pagewalk's public names.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from pagewalk.doors import integer
from pagewalk.errors import WalkError
from pagewalk.space import VmaFlags
from pagewalk.tables import PageTables
from pagewalk.walk.hugetlb import walk_hugetlb
from pagewalk.walk.locking import check_mm_lock, check_vma_lock
from pagewalk.walk.ops import Walk
from pagewalk.walk.walker import Walker

if TYPE_CHECKING:
    from pagewalk.errors import TranslationError
    from pagewalk.space import AddressSpace, Mapping, Vma
    from pagewalk.walk.ops import WalkOps

__all__ = [
    "range_of",
    "walk_page_mapping",
    "walk_page_range",
    "walk_page_range_mm",
    "walk_page_range_novma",
    "walk_page_range_novma_mm",
    "walk_page_range_vma",
    "walk_page_range_vma_mm",
    "walk_page_vma",
]


def walk_page_range(
    mm: AddressSpace,
    start: int,
    end: int,
    ops: WalkOps,
    private: Any = None,
    *,
    findings: list[TranslationError] | None = None,
) -> int:
    """Walk a range of an address space, VMA by VMA; what lies between them is a hole of depth -1.

    Args:
        mm: The address space. Its ``mmap_lock`` must be held as ``ops.walk_lock`` demands; a snapshot has none.
        start, end: Virtual addresses in bytes, page-aligned, half-open.
        ops: The callbacks; not ``install_pte``.
        private: The caller's own, handed through as ``walk.private``.
        findings: Collects malformed entries, which are then passed over, instead of raising the first.

    Returns:
        0, or the positive result of the callback that ended the walk.

    Raises:
        WalkError: EINVAL: an empty or misaligned range, ``install_pte``, a lock that is not held. EAGAIN: an entry that
            kept changing. Any other errno: a callback returned it, negative.
        ReservedBits, Malformed: An entry is not one, and ``findings`` is None.
    Source: ``walk_page_range``, Linux 6.18.
    """
    _refuse_install(ops)
    return walk_page_range_mm(mm, start, end, ops, private, findings=findings)


def walk_page_range_mm(
    mm: AddressSpace,
    start: int,
    end: int,
    ops: WalkOps,
    private: Any = None,
    *,
    findings: list[TranslationError] | None = None,
    walk: Walk | None = None,
) -> int:
    """``walk_page_range`` that accepts ``install_pte``: for the memory-management code.

    Args:
        mm, start, end, ops, private, findings: As ``walk_page_range``.
        walk: The walk to use, for a caller that wants its progress after an abort.

    Raises:
        WalkError: Also EINVAL where a hugetlb VMA is to be installed into.
        OutOfFrames: No frame for a table. What was installed stays.
    """
    start, end = range_of(start, end, mm.tables)
    check_mm_lock(mm, ops.walk_lock)
    walk = walk or Walk(mm.tables, ops, private, mm=mm, findings=findings)
    walker = Walker(walk)
    while start < end:
        vma = mm.vmas.find(start)
        if vma is None or start < vma.start:
            next_ = end if vma is None else min(end, vma.start)
            walk.vma = None
            result = walker.hole(start, next_, -1)
        else:
            next_ = min(end, vma.end)
            check_vma_lock(vma, ops.walk_lock)
            walk.vma = vma
            result = 0 if _skips(walker, vma, start, next_) else _walk_vma(walker, vma, start, next_)
        if result:
            return result
        walk.addr = start = next_
    return 0


def walk_page_range_vma(
    vma: Vma,
    start: int,
    end: int,
    ops: WalkOps,
    private: Any = None,
    *,
    findings: list[TranslationError] | None = None,
) -> int:
    """Walk a range inside one VMA, without ``test_walk``.

    Raises:
        WalkError: EINVAL also where the range leaves the VMA. The rest as ``walk_page_range``.
    """
    _refuse_install(ops)
    return walk_page_range_vma_mm(vma, start, end, ops, private, findings=findings)


def walk_page_range_vma_mm(
    vma: Vma,
    start: int,
    end: int,
    ops: WalkOps,
    private: Any = None,
    *,
    findings: list[TranslationError] | None = None,
    walk: Walk | None = None,
) -> int:
    """``walk_page_range_vma`` that accepts ``install_pte``: for the memory-management code."""
    mm = _mm_of(vma)
    start, end = range_of(start, end, mm.tables)
    if start < vma.start or end > vma.end:
        raise WalkError(errno.EINVAL, f"[{start:#x}, {end:#x}) leaves the VMA [{vma.start:#x}, {vma.end:#x})")
    check_mm_lock(mm, ops.walk_lock)
    check_vma_lock(vma, ops.walk_lock)
    walk = walk or Walk(mm.tables, ops, private, mm=mm, findings=findings)
    walk.vma = vma
    return _walk_vma(Walker(walk), vma, start, end)


def walk_page_vma(vma: Vma, ops: WalkOps, private: Any = None) -> int:
    """Walk one whole VMA, without ``test_walk``. Errors as ``walk_page_range``."""
    return walk_page_range_vma(vma, vma.start, vma.end, ops, private)


def walk_page_mapping(mapping: Mapping, first_index: int, nr: int, ops: WalkOps, private: Any = None) -> int:
    """Walk every place where pages of a file are mapped.

    Args:
        mapping: The file's pages.
        first_index: First page of the file.
        nr: Pages.
        ops: The callbacks; not ``install_pte``. A positive ``test_walk`` ends the walk, quietly.
        private: The caller's own.

    ``mapping.lock`` (the kernel's ``i_mmap_rwsem``) is held meanwhile: no VMA comes or goes. A callback must not wait
    for an address space.

    Raises:
        WalkError: As ``walk_page_range``; EINVAL also where there is nothing to walk (``nr`` < 1).
    Source: ``walk_page_mapping``, Linux 6.18.
    """
    _refuse_install(ops)
    first_index, nr = integer(first_index, "first_index"), integer(nr, "nr")
    if first_index < 0 or nr < 1:
        raise WalkError(errno.EINVAL, f"not a range of pages: {nr} from {first_index}")
    with mapping.lock:
        return _walk_mapping(mapping, first_index * mapping.page_size, nr * mapping.page_size, ops, private)


def _walk_mapping(mapping: Mapping, start: int, size: int, ops: WalkOps, private: Any) -> int:
    """Walk every place where a range of a file is mapped; its lock is held."""
    walker, end = None, start + size
    for vma in mapping.overlapping(start, end):
        mm = _mm_of(vma)
        if walker is None or walker.walk.mm is not mm:
            walker = Walker(Walk(mm.tables, ops, private, mm=mm))
        walker.walk.vma = vma
        if _skips(walker, vma, vma.start, vma.end):
            return 0
        if result := _walk_vma(walker, vma, *vma.range_of(start, end)):
            return result
    return 0


def walk_page_range_novma(
    tables: PageTables,
    start: int,
    end: int,
    ops: WalkOps,
    root: int | None = None,
    private: Any = None,
    *,
    findings: list[TranslationError] | None = None,
) -> int:
    """Walk a range of raw page tables: no VMAs, nothing is split.

    Args:
        tables: The page tables.
        start, end: Virtual addresses in bytes, page-aligned, half-open, in one canonical half.
        ops: The callbacks; not ``install_pte``. Huge and not-present upper entries go to their callback only.
        root: Another top table of the same memory.
        private, findings: As ``walk_page_range``.

    Raises:
        WalkError, ReservedBits, Malformed: As ``walk_page_range``.
    Source: ``walk_page_range_novma``, Linux 6.13; in 6.18 ``walk_kernel_page_table_range``, ``walk_page_range_debug``.
    """
    _refuse_install(ops)
    return walk_page_range_novma_mm(tables, start, end, ops, root, private, findings=findings)


def walk_page_range_novma_mm(
    tables: PageTables,
    start: int,
    end: int,
    ops: WalkOps,
    root: int | None = None,
    private: Any = None,
    *,
    findings: list[TranslationError] | None = None,
    walk: Walk | None = None,
) -> int:
    """``walk_page_range_novma`` that accepts ``install_pte``, with a warning: no cache hook can run without a VMA."""
    start, end = range_of(start, end, tables)
    if root is not None:
        tables = PageTables(tables.memory, root, tables.format, allocator=tables.allocator)
    return Walker(walk or Walk(tables, ops, private, findings=findings)).range(start, end)


def _walk_vma(walker: Walker, vma: Vma, start: int, end: int) -> int:
    """Walk a range inside a VMA, between ``pre_vma`` and ``post_vma`` (the kernel's ``__walk_page_range``)."""
    walk, ops = walker.walk, walker.ops
    walk.addr = start
    hugetlb = VmaFlags.HUGETLB in vma.flags
    if ops.install_pte is not None and hugetlb:
        raise WalkError(errno.EINVAL, f"{start:#x}: nothing can be installed in a hugetlb VMA")
    if ops.pre_vma is not None and (result := walker.verdict(ops.pre_vma(start, end, walk))):
        return result
    try:
        return walk_hugetlb(walker, vma, start, end) if hugetlb else walker.range(start, end)
    finally:
        if ops.post_vma is not None:
            ops.post_vma(walk)


def _skips(walker: Walker, vma: Vma, start: int, end: int) -> bool:
    """Whether a VMA is to be passed over (the kernel's ``walk_page_test``)."""
    walker.walk.addr = start
    if walker.ops.test_walk is not None:
        return walker.verdict(walker.ops.test_walk(start, end, walker.walk)) > 0
    if VmaFlags.PFNMAP in vma.flags:
        walker.hole(start, end, -1)
        return True
    return False


def _refuse_install(ops: WalkOps) -> None:
    """Installing is for the memory-management code (the kernel's ``check_ops_safe``)."""
    if ops.install_pte is not None:
        raise WalkError(errno.EINVAL, "install_pte is not permitted in the public walks: use pagewalk.edit, or an Mm")


def range_of(start: int, end: int, tables: PageTables) -> tuple[int, int]:
    """A range to walk, in plain numbers.

    Raises:
        WalkError: EINVAL, it is none.
        TypeError: A bound is no integer.
    """
    start, end = integer(start, "start"), integer(end, "end")
    if start >= end:
        raise WalkError(errno.EINVAL, f"empty range: start {start:#x} is not below end {end:#x}")
    size = tables.format.page_size
    if (start | end) % size:
        raise WalkError(errno.EINVAL, f"[{start:#x}, {end:#x}) is not aligned to pages of {size:#x} bytes")
    if not any(window.start <= start and end <= window.end for window in tables.windows):
        halves = " and ".join(f"[{window.start:#x}, {window.end:#x})" for window in tables.windows)
        raise WalkError(errno.EINVAL, f"[{start:#x}, {end:#x}) leaves the canonical halves, {halves}: walk each alone")
    return start, end


def _mm_of(vma: Vma) -> AddressSpace:
    """The address space that a VMA is in."""
    if vma.mm is None:
        raise WalkError(errno.EINVAL, f"VMA [{vma.start:#x}, {vma.end:#x}) is in no address space")
    mm: AddressSpace = vma.mm
    return mm
