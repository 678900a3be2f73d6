"""Strategies for raw x86-64 entries, from the SDM's tables and Linux's layer, in plain integers."""

from __future__ import annotations

from hypothesis import strategies as st

GUARD = 0xFFFF_FFFF_FFFF_F600
UFFD_WP_MARKER = 0xFFFF_FFFF_FFFF_FC00
POISON_MARKER = 0xFFFF_FFFF_FFFF_FA00
ANY = st.integers(0, (1 << 64) - 1)
STATE = 0x7FF0_0000_0000_0E7E  # RW US PWT PCD A D, software 11:9, ignored and key 62:52
XD_AND_STATE = STATE | 1 << 63
ADDRESS = 0x000F_FFFF_FFFF_F000


def _with(bits: int) -> st.SearchStrategy[int]:
    """Any combination of these bits."""
    return ANY.map(lambda value: value & bits)


def _page(shift: int, fixed: int, free: int) -> st.SearchStrategy[int]:
    """A page of ``1 << shift`` bytes: any frame of that size, any free bits, the fixed ones."""
    frames = ADDRESS & -(1 << shift)
    return st.tuples(_with(frames), _with(free)).map(lambda parts: parts[0] | parts[1] | fixed)


def leaf(shift: int) -> st.SearchStrategy[int]:
    """A present page: PAT is bit 7, or bit 12 of a large page; G is bit 8."""
    if shift == 12:
        return _page(12, 0x1, XD_AND_STATE | 0x180)
    return _page(shift, 0x81, XD_AND_STATE | 0x1100)


def prot_none(shift: int) -> st.SearchStrategy[int]:
    """P=0 and bit 8: Linux keeps the frame there, inverted above the page's own bits."""
    if shift == 12:
        return _page(12, 0x100, XD_AND_STATE | 0x80)
    return _page(shift, 0x180, XD_AND_STATE | 0x1000)


def swap_like(types: st.SearchStrategy[int], offset_bits: int = 50) -> st.SearchStrategy[int]:
    """Type at bit 59, offset inverted in 58:9; soft-dirty, uffd-wp and exclusive in bits 1 to 3."""
    full = (1 << 50) - 1
    parts = st.tuples(types, st.integers(0, (1 << offset_bits) - 1), st.integers(0, 7))
    return parts.map(lambda part: part[0] << 59 | (part[1] ^ full) << 9 | part[2] << 1)


def migration(shift: int) -> st.SearchStrategy[int]:
    """A migration entry of a page of ``1 << shift`` bytes; the offset is the frame number, young and dirty above it."""
    full, frames = (1 << 50) - 1, 1 << (shift - 12)
    parts = st.tuples(st.integers(25, 27), st.integers(0, (1 << 34) - 1), st.integers(0, 3), st.integers(0, 7))
    return parts.map(
        lambda part: part[0] << 59 | ((part[1] // frames * frames | part[2] << 34) ^ full) << 9 | part[3] << 1
    )


SWAP = swap_like(st.integers(0, 23))
STRAY = st.sampled_from([0x20, 0x40, 0x60])
MARKERS = st.sampled_from([GUARD, UFFD_WP_MARKER, POISON_MARKER])
ABSENT = st.one_of(SWAP, MARKERS, migration(12), swap_like(st.just(24), 34), prot_none(12))
LAST_LEVEL = st.one_of(leaf(12), prot_none(12), SWAP, MARKERS, migration(12), STRAY, ANY)
NOT_VALID = st.one_of(ABSENT, STRAY, ANY.map(lambda value: value & -2))
RAW = st.one_of(LAST_LEVEL, leaf(21), leaf(30), prot_none(21), prot_none(30), migration(21), st.just(0), ANY)


def huge(shift: int, *, absent: bool = False) -> st.SearchStrategy[int]:
    """What a slot above the last level holds instead of a table: with ``absent``, things that are no page as well."""
    pages = [leaf(shift), prot_none(shift)] + ([migration(shift)] if shift == 21 else [])
    return st.one_of(*pages, *([SWAP, STRAY] if absent else []))
