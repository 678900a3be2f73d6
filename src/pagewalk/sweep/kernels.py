"""The kernels of ``questions``, compiled by Numba: one pass over the tables where they lie, with no copy.

Every constant is a ``uint64``: in Numba a bare literal would turn addresses into signed numbers.

What the kernels are given:

* ``tables``: the grid, shape (t, entries), uint64.
* ``rows``, ``vaddrs``, ``rights``: the chunk's tables: row in the grid, first address, rights with all state bits set.
* ``limits``: first place and end; shift of a slot; shift right and left of an address; the valid bit's mask and place.
* ``bits``: masks: not empty, reserved, address, flags that must be set and must be clear, kinds, no frame, significant.
* ``lookup``, ``moves``: from entries to states.
* ``between``: rows of the levels above: vaddr, paddr, flags, kind, depth. ``out``: the same columns, to be written.
* ``depth``: what goes into the column depth.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import int64, njit, types, uint64

from pagewalk.formats import Kind

__all__ = ["count_pages", "list_pages", "list_runs", "per_entry", "table_driver"]

ZERO = np.uint64(0)
ONE = np.uint64(1)
ALL = np.uint64((1 << 64) - 1)
KIND_SHIFT = np.uint32(24)
FLAGS = np.uint32((1 << 24) - 1)
PRESENT = np.uint32(1)
EVERY_KIND = np.uint32((1 << len(Kind)) - 1)
NAMED = np.uint32(1 << 2 | 1 << 4 | 1 << 7)  # PROT_NONE, MIGRATION, HWPOISON: their frames are for NumPy

# What a kernel gives up with: NumPy takes the chunk.
DONE, UNKNOWN = 0, 1


@njit(nogil=True, cache=True, inline="always")
def _state(entry: Any, lookup: Any, moves: Any) -> Any:
    """The state of an entry; 0 if it is not known yet. ``moves``: shift right, mask, shift left, for three runs."""
    index = (entry >> moves[0] & moves[1]) << moves[2]
    index |= (entry >> moves[3] & moves[4]) << moves[5]
    index |= (entry >> moves[6] & moves[7]) << moves[8]
    return lookup[index]


@njit(nogil=True, cache=True)
def _pass_on(end, between, out, places, b, count):  # type: ignore[no-untyped-def]
    """Write the rows of the levels above that lie below an address; all but their depths, whose places are noted."""
    vaddr, paddr, flags, kind, _ = between
    while b < uint64(vaddr.shape[0]) and vaddr[b] < end:
        out[0][count], out[1][count], out[2][count], out[3][count] = vaddr[b], paddr[b], flags[b], kind[b]
        places[b] = count
        b += ONE
        count += ONE
    return b, count


@njit(nogil=True, cache=True)
def list_pages(tables, rows, vaddrs, rights, limits, bits, lookup, moves, between, out, raw, depth):  # type: ignore[no-untyped-def]
    """Pages of tables, and the rows between them, by address; ``raw`` takes the entries, if it has room.

    Returns:
        Rows written, and whether NumPy has to do it all over.
    """
    held, reserved, address, having, lacking, kinds, no_frame, significant = bits
    filtered = having | lacking != np.uint32(0) or kinds != EVERY_KIND
    key, known = ALL, np.uint32(0)  # no key is all ones: an entry has bits that do not matter
    first, end, shift, right, left, valid, at_valid = limits
    o_vaddr, o_paddr, o_flags, o_kind, o_depth = out
    odd = np.uint32(0)
    per = tables.shape[1]
    want_raw = raw.shape[0] > 0
    places = np.empty(between[0].shape[0], np.uint64)
    count, b = ZERO, ZERO
    for t in range(rows.shape[0]):
        b, count = _pass_on(vaddrs[t], between, out, places, b, count)
        table = tables[rows[t]]
        low = max(int64(first) - t * per, 0)
        high = min(int64(end) - t * per, per)
        base, granted = vaddrs[t], rights[t]
        for slot in range(uint64(low), uint64(high)):  # unsigned: no index can count from the end
            entry = table[slot]
            if entry & held == ZERO:
                continue
            if entry & significant != key:
                key = entry & significant
                known = _state(entry, lookup, moves)
                if known == np.uint32(0):
                    return count, UNKNOWN
            if entry & reserved != ZERO and entry & valid != ZERO:
                return count, UNKNOWN
            state = known & granted
            kind = state >> KIND_SHIFT
            if filtered and (
                state & having != having or state & lacking != np.uint32(0) or kinds >> kind & np.uint32(1) == 0
            ):
                continue
            paddr = ((entry & address) << left) >> right
            paddr |= (entry >> at_valid & ONE) - ONE  # all ones where it is not valid
            odd |= NAMED >> kind & np.uint32(1)
            if state & no_frame != np.uint32(0):
                paddr = ALL
            o_vaddr[count] = base + (slot << shift)
            o_paddr[count] = paddr
            o_flags[count] = state & FLAGS
            o_kind[count] = kind
            if want_raw:
                raw[count] = entry
            count += ONE
        if odd != np.uint32(0):
            return count, UNKNOWN
    b, count = _pass_on(ALL, between, out, places, b, count)
    o_depth[:count] = depth  # apart: one stream of writes less in the loop
    for at in range(places.shape[0]):
        o_depth[places[at]] = between[4][at]
    return count, DONE


@njit(nogil=True, cache=True)
def list_runs(tables, rows, vaddrs, rights, limits, bits, lookup, moves, out, depth):  # type: ignore[no-untyped-def]
    """Runs of pages of tables, by address; ``out`` has one more column, size.

    Returns:
        Rows written, and whether NumPy has to do it all over.
    """
    held, reserved, address, having, lacking, kinds, no_frame, significant = bits
    filtered = having | lacking != np.uint32(0) or kinds != EVERY_KIND
    key, known = ALL, np.uint32(0)  # no key is all ones: an entry has bits that do not matter
    first, end, shift, right, left, valid, _ = limits
    o_vaddr, o_paddr, o_flags, o_kind, o_depth, o_size = out
    per = tables.shape[1]
    span = ONE << shift
    count = ZERO
    next_vaddr, next_paddr, size, last = ZERO, ZERO, ZERO, np.uint32(0)
    for t in range(rows.shape[0]):
        table = tables[rows[t]]
        low = max(int64(first) - t * per, 0)
        high = min(int64(end) - t * per, per)
        base, granted = vaddrs[t], rights[t]
        for slot in range(uint64(low), uint64(high)):  # unsigned: no index can count from the end
            entry = table[slot]
            if entry & held == ZERO:
                continue
            if entry & significant != key:
                key = entry & significant
                known = _state(entry, lookup, moves)
                if known == np.uint32(0):
                    return count, UNKNOWN
            if entry & reserved != ZERO and entry & valid != ZERO:
                return count, UNKNOWN
            state = known & granted
            kind = state >> KIND_SHIFT
            if filtered and (
                state & having != having or state & lacking != np.uint32(0) or kinds >> kind & np.uint32(1) == 0
            ):
                continue
            paddr = ((entry & address) << left) >> right
            follows = paddr == next_paddr
            if kind != PRESENT or state & no_frame != np.uint32(0):
                if NAMED >> kind & np.uint32(1) != np.uint32(0):
                    return count, UNKNOWN
                paddr = ALL
                follows = True
            vaddr = base + (slot << shift)
            if size != ZERO and follows and vaddr == next_vaddr and state == last:
                size += span
            else:
                if size != ZERO:
                    o_size[count - ONE] = size
                o_vaddr[count], o_paddr[count], o_flags[count] = vaddr, paddr, state & FLAGS
                o_kind[count], o_depth[count] = kind, depth
                count += ONE
                size, last = span, state
            next_vaddr, next_paddr = vaddr + span, paddr + span
    if count != ZERO:
        o_size[count - ONE] = size
    return count, DONE


@njit(nogil=True, cache=True)
def count_pages(tables, rows, rights, times, limits, bits, lookup, moves, found):  # type: ignore[no-untyped-def]
    """Count entries by kind into ``found``, each table ``times`` over; whether NumPy has to do it all over."""
    held, reserved, _, having, lacking, kinds, _, significant = bits
    key, known = ALL, np.uint32(0)
    first, end, _, _, _, valid, _ = limits
    per = tables.shape[1]
    mine = np.zeros(found.shape[0], np.uint64)
    for t in range(rows.shape[0]):
        table = tables[rows[t]]
        low = max(int64(first) - t * per, 0)
        high = min(int64(end) - t * per, per)
        for slot in range(uint64(low), uint64(high)):  # unsigned: no index can count from the end
            entry = table[slot]
            if entry & held == ZERO:
                continue
            if entry & significant != key:
                key = entry & significant
                known = _state(entry, lookup, moves)
                if known == np.uint32(0):
                    return UNKNOWN
            if entry & reserved != ZERO and entry & valid != ZERO:
                return UNKNOWN
            state = known & rights[t]
            kind = state >> KIND_SHIFT
            if state & having == having and state & lacking == np.uint32(0) and kinds >> kind & np.uint32(1) != 0:
                mine[kind] += times[t]
    found += mine
    return DONE


def _table_type(writes: bool) -> Any:
    """The type of a callback for tables."""
    row = types.Array(uint64, 1, "C", readonly=not writes)
    return types.FunctionType(int64(row, uint64))


@lru_cache(maxsize=2)
def _driver(writes: bool) -> Any:
    """The loop that calls a callback for each table, compiled once for all callbacks."""
    batch = types.Array(uint64, 2, "C", readonly=not writes)
    pair: Any = types.Tuple((int64, int64))  # type: ignore[no-untyped-call]
    signature = pair(batch, types.Array(uint64, 1, "C"), _table_type(writes))

    @njit(signature, nogil=True)
    def drive(entries, vaddrs, callback):  # type: ignore[no-untyped-def]
        for at in range(entries.shape[0]):
            result = callback(entries[at], vaddrs[at])
            if result != 0:
                return at, result
        return 0, 0

    return drive


def table_driver(callback: Any, writes: bool) -> Any:
    """See ``jit.table_driver``."""
    drive = _driver(writes)

    def driver(entries: Any, vaddrs: Any) -> tuple[int, int]:
        at, result = drive(entries, vaddrs, callback)
        return int(at), int(result)

    return driver


@lru_cache(maxsize=64)
def per_entry(callback: Any, page_size: int) -> Any:
    """See ``jit.per_entry``."""
    step = np.uint64(page_size)

    @njit(nogil=True)
    def table(entries, vaddr):  # type: ignore[no-untyped-def]
        for at in range(entries.shape[0]):
            result = callback(entries[at], vaddr + uint64(at) * step)
            if result != 0:
                return int64(result)
        return int64(0)

    return table
