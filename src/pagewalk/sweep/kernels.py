"""The kernels of ``questions``, compiled by Numba: one pass over the tables where they lie, with no copy.

How it works. ``_rows_of`` goes through one table. Neighbours are mostly alike, so what an entry's bits mean is looked
up only where they differ from those of the entry before. Nothing is decided about a frame but by its kind: each has a
*rule*, ``((entry ^ flip) & mask) << left >> right | none``. Eight slots, a cache line, are passed over at once if they
are empty, which is found out for all of a table at first, without a branch. Tables that come later are asked for
meanwhile: they lie scattered, and no prefetcher can guess where.

Every constant is a ``uint64``: in Numba a bare literal would turn addresses into signed numbers.

What the kernels are given:

* ``tables``: the grid, shape (t, entries), uint64.
* ``rows``, ``vaddrs``, ``rights``: the chunk's tables: row in the grid, first address, rights with all state bits set.
* ``limits``: first place and end.
* ``bits``: of an entry: not empty, significant, reserved, valid, and those of a frame's poison and what they are then;
  shift of a slot.
* ``wanted``: flags that must be set and must be clear, kinds, the flag of no frame.
* ``lookup``, ``moves``: from entries to states.
* ``rules``: a frame's rule for each kind, shape (kinds, 5): flip, mask, left, right, none.
* ``between``: rows of the levels above: vaddr, paddr, flags, kind, depth. ``out``: the same columns, to be written.
* ``depth``: what goes into the column depth.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import int64, njit, types, uint32, uint64
from numba.extending import intrinsic

from pagewalk.formats import Kind

__all__ = ["count_pages", "list_pages", "list_runs", "per_entry", "table_driver", "translate"]

ZERO = np.uint64(0)
ONE = np.uint64(1)
EIGHT = np.uint64(8)
TOGETHER = 64  # addresses that go down together
AHEAD = 128  # entries of a table that are asked for ahead: 16 cache lines
ALL = np.uint64((1 << 64) - 1)
KIND_SHIFT = np.uint32(24)
FLAGS = np.uint32((1 << 24) - 1)
NONE32 = np.uint32(0)
HWPOISON = np.uint32(Kind.HWPOISON)

# What a kernel gives up with: NumPy takes the chunk.
DONE, UNKNOWN = 0, 1


@intrinsic
def _prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of an element."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(base, [arguments[1]]), ir.IntType(8).as_pointer())
        one = ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [pointer.type], ir.FunctionType(ir.VoidType(), [pointer.type, one, one, one])
        )
        builder.call(function, [pointer, one(0), one(3), one(1)])
        return context.get_dummy_value()

    return types.void(array, index), generate


@njit(nogil=True, cache=True, inline="always")
def _ask_for(tables, rows, t):  # type: ignore[no-untyped-def]
    """Ask for the first lines of the table after the next; the rest the prefetcher guesses."""
    if t + 2 < rows.shape[0]:
        flat = tables.reshape(-1)
        first = uint64(rows[t + 2]) * uint64(tables.shape[1])
        for line in range(first, first + uint64(min(tables.shape[1], AHEAD)), EIGHT):
            _prefetch(flat, line)  # type: ignore[call-arg]


@njit(nogil=True, cache=True, inline="always")
def _state(key: Any, lookup: Any, moves: Any) -> Any:
    """The state of entries by their significant bits; 0 if it is not known yet.

    ``moves``: shift right, mask, shift left, for three runs.
    """
    index = (key >> moves[0] & moves[1]) << moves[2]
    index |= (key >> moves[3] & moves[4]) << moves[5]
    index |= (key >> moves[6] & moves[7]) << moves[8]
    return lookup[index]


@njit(nogil=True, cache=True, inline="always")
def _nothing_in(table: Any, slot: Any) -> Any:
    """Whether eight slots are zero."""
    low = table[slot] | table[slot + ONE] | table[slot + uint64(2)] | table[slot + uint64(3)]
    high = table[slot + uint64(4)] | table[slot + uint64(5)] | table[slot + uint64(6)] | table[slot + uint64(7)]
    return low | high == ZERO


@njit(nogil=True, cache=True, inline="always")
def _groups(table, slots, found):  # type: ignore[no-untyped-def]
    """Write down where eight slots begin that are not all zero, or fewer than eight; how many there are."""
    slot, end = slots
    count = ZERO
    while slot + EIGHT <= end:
        found[count] = slot
        count += ZERO if _nothing_in(table, slot) else ONE
        slot += EIGHT
    if slot < end:
        found[count] = slot
        count += ONE
    return count


@njit(nogil=True, cache=True, inline="always")
def _rows_of(table, slots, groups, base, granted, known, out, raw, count):  # type: ignore[no-untyped-def]
    """Write the rows of one table, from the ``count``-th on; ``raw`` takes the entries, if it has room.

    Returns:
        The number of rows then; ``ALL`` if NumPy has to do it all over.
    """
    bits, wanted, lookup, moves, rules = known
    held, significant, reserved, valid, poison, poisoned, shift = bits
    having, lacking, kinds, no_frame = wanted
    o_vaddr, o_paddr, o_flags, o_kind = out
    want_raw = raw.shape[0] > 0
    key, passes, flags, kind = ALL, True, NONE32, NONE32  # no key is all ones: an entry has bits that do not matter
    flip, mask, left, right, none = ZERO, ZERO, ZERO, ZERO, ZERO
    for group in range(_groups(table, slots, groups)):
        for at in range(groups[group], min(groups[group] + EIGHT, slots[1])):
            entry = table[at]
            if entry & held == ZERO:
                continue
            if entry & significant != key:
                key = entry & significant
                state = _state(key, lookup, moves) & granted
                kind = state >> KIND_SHIFT
                if kind == NONE32:
                    return ALL
                flags = state & FLAGS
                passes = state & having == having and state & lacking == NONE32 and kinds >> kind & np.uint32(1) != 0
                flip, mask, left, right = rules[kind, 0], rules[kind, 1], rules[kind, 2], rules[kind, 3]
                none = rules[kind, 4]
                if state & no_frame != NONE32 or (kind == HWPOISON and entry & poison != poisoned):
                    none = ALL
            if entry & reserved != ZERO and entry & valid != ZERO:
                return ALL
            if passes:
                o_vaddr[count] = base + (at << shift)
                o_paddr[count] = ((entry ^ flip) & mask) << left >> right | none
                o_flags[count] = flags
                o_kind[count] = kind
                if want_raw:
                    raw[count] = entry
                count += ONE
    return count


@njit(nogil=True, cache=True, inline="always")
def _slots(t: Any, limits: Any, per: Any) -> Any:
    """The slots of the t-th table that lie in the range: first and end."""
    return uint64(max(limits[0] - t * per, 0)), uint64(min(limits[1] - t * per, per))


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
def list_pages(  # type: ignore[no-untyped-def]
    begin, tables, rows, vaddrs, rights, limits, bits, wanted, lookup, moves, rules, between, out, raw, depth
):
    """Pages of tables, and the rows between them, by address; ``raw`` takes the entries, if it has room.

    Args:
        begin: How many tables, and rows between them, are done already.

    Returns:
        Rows written, tables and rows between them that are done, and why it ends before the last: no room, or NumPy
        has to look at the next table.
    """
    columns = out[0], out[1], out[2], out[3]
    places = np.empty(between[0].shape[0], np.uint64)
    per, room = uint64(tables.shape[1]), uint64(out[0].shape[0])
    groups = np.empty(per, np.uint64)
    t, b = begin
    first, count, status = b, ZERO, DONE
    while t < rows.shape[0]:
        if room < count + per + uint64(between[0].shape[0]) - b:
            break
        _ask_for(tables, rows, t)
        b, count = _pass_on(vaddrs[t], between, out, places, b, count)
        slots = _slots(t, limits, tables.shape[1])
        known = bits, wanted, lookup, moves, rules
        found = _rows_of(tables[rows[t]], slots, groups, vaddrs[t], rights[t], known, columns, raw, count)
        if found == ALL:
            status = UNKNOWN
            break
        count = found
        t += 1
    if t == rows.shape[0]:
        b, count = _pass_on(ALL, between, out, places, b, count)
    out[4][:count] = depth  # apart: one stream of writes less in the loop
    for at in range(first, b):
        out[4][places[at]] = between[4][at]
    return count, t, b, status


@njit(nogil=True, cache=True)
def list_runs(  # type: ignore[no-untyped-def]
    begin, tables, rows, vaddrs, rights, limits, bits, wanted, lookup, moves, rules, out, depth
):
    """Runs of pages of tables, by address; ``out`` has one more column, size. Else as ``list_pages``."""
    o_vaddr, o_paddr, o_flags, o_kind, o_depth, o_size = out
    per = tables.shape[1]
    vaddr, paddr = np.empty(per, np.uint64), np.empty(per, np.uint64)
    flags, kind = np.empty(per, np.uint32), np.empty(per, np.uint8)
    raw, groups = np.empty(0, np.uint64), np.empty(per, np.uint64)
    span = ONE << bits[6]
    count, next_vaddr, next_paddr, last = ZERO, ZERO, ZERO, NONE32  # no state is 0: the first row begins a run
    t, b = begin
    status = DONE
    while t < rows.shape[0]:
        if uint64(o_vaddr.shape[0]) < count + uint64(per):
            break
        _ask_for(tables, rows, t)
        slots = _slots(t, limits, per)
        columns = vaddr, paddr, flags, kind
        known = bits, wanted, lookup, moves, rules
        found = _rows_of(tables[rows[t]], slots, groups, vaddrs[t], rights[t], known, columns, raw, ZERO)
        if found == ALL:
            status = UNKNOWN
            break
        for at in range(found):
            state = flags[at] | uint32(kind[at]) << KIND_SHIFT
            if paddr[at] != next_paddr or vaddr[at] != next_vaddr or state != last:
                if count != ZERO:
                    o_size[count - ONE] = next_vaddr - o_vaddr[count - ONE]
                o_vaddr[count], o_paddr[count], o_flags[count] = vaddr[at], paddr[at], flags[at]
                o_kind[count], o_depth[count] = kind[at], depth
                count += ONE
                last = state
            next_vaddr = vaddr[at] + span
            next_paddr = paddr[at] + span if paddr[at] != ALL else ALL
        t += 1
    if count != ZERO:
        o_size[count - ONE] = next_vaddr - o_vaddr[count - ONE]
    return count, t, b, status


@njit(nogil=True, cache=True)
def count_pages(tables, rows, rights, times, limits, bits, wanted, lookup, moves, found):  # type: ignore[no-untyped-def]
    """Count entries by kind into ``found``, each table ``times`` over; whether NumPy has to do it all over."""
    held, significant, reserved, valid, _, _, _ = bits
    having, lacking, kinds, _ = wanted
    mine, groups = np.zeros(found.shape[0], np.uint64), np.empty(tables.shape[1], np.uint64)
    for t in range(rows.shape[0]):
        _ask_for(tables, rows, t)
        table = tables[rows[t]]
        key, kind = ALL, NONE32
        slots = _slots(t, limits, tables.shape[1])
        for group in range(_groups(table, slots, groups)):
            for at in range(groups[group], min(groups[group] + EIGHT, slots[1])):
                entry = table[at]
                if entry & held == ZERO:
                    continue
                if entry & significant != key:
                    key = entry & significant
                    state = _state(key, lookup, moves) & rights[t]
                    kind = state >> KIND_SHIFT
                    if kind == NONE32:
                        return UNKNOWN
                    if state & having != having or state & lacking != NONE32 or kinds >> kind & np.uint32(1) == 0:
                        kind = NONE32  # what does not pass is counted as nothing
                if entry & reserved != ZERO and entry & valid != ZERO:
                    return UNKNOWN
                mine[kind] += times[t]
    mine[0] = ZERO
    found += mine
    return DONE


@njit(nogil=True, cache=True, inline="always")
def _place(bounds: Any, table: Any, level: Any, vaddr: Any) -> Any:
    """Where the entry for an address is in a table, as a place in ``words``; ``ALL`` if the table is not in them."""
    offset = table - bounds[0]
    outside = offset > bounds[1] - level[6] or offset & uint64(7) != ZERO
    return ALL if outside else (offset >> uint64(3)) + (vaddr >> level[0] & level[1])


@njit(nogil=True, cache=True)
def _translate(words, bounds, vaddrs, levels, bits, wanted, lookup, moves, rules, places, out):  # type: ignore[no-untyped-def]
    """Translate some addresses, a level at a time, so that the memory answers for many of them at once."""
    held, significant, valid, address, left, right = bits
    kinds, no_frame = wanted
    paddrs, mapped = out
    key, state = ALL, NONE32
    for at in range(vaddrs.shape[0]):
        places[at] = _place(bounds, bounds[2], levels[0], vaddrs[at])
        if places[at] == ALL:
            return UNKNOWN
    for depth in range(levels.shape[0]):
        level, below = levels[depth], levels[min(depth + 1, levels.shape[0] - 1)]
        for at in range(vaddrs.shape[0]):
            if places[at] == ALL:
                continue
            entry = words[places[at]]
            places[at] = ALL
            if entry & valid != ZERO:
                if entry & level[2] == level[3]:
                    table = (entry & address) << left >> right
                    places[at] = _place(bounds, table, below, vaddrs[at])
                    if entry & level[4] != ZERO or places[at] == ALL:
                        return UNKNOWN
                    _prefetch(words, places[at])  # type: ignore[call-arg]
                    continue
                if entry & level[5] != ZERO:
                    return UNKNOWN
            elif entry & held == ZERO:
                continue
            if entry & significant != key:
                key = entry & significant
                state = _state(key, lookup, moves)
                if state == NONE32:
                    return UNKNOWN
            kind = state >> KIND_SHIFT
            if kinds >> kind & np.uint32(1) == NONE32:
                continue
            mapped[at] = True
            if state & no_frame == NONE32:
                frame = (entry ^ rules[depth, kind, 0]) & rules[depth, kind, 1]
                frame = frame << rules[depth, kind, 2] >> rules[depth, kind, 3] | rules[depth, kind, 4]
                paddrs[at] = frame | vaddrs[at] & (ONE << level[0]) - ONE
    return DONE


@njit(nogil=True, cache=True)
def translate(words, bounds, vaddrs, levels, bits, wanted, lookup, moves, rules, paddrs, mapped):  # type: ignore[no-untyped-def]
    """Translate addresses.

    Args:
        words: The memory, shape (n,), uint64.
        bounds: Where it begins, how many bytes it has, and where the top table is.
        vaddrs: The addresses, all of them canonical.
        levels: For each shift, mask of the index, mask and value of a table's entry, what is reserved in it and in a
            page's, bytes of a table. Shape (levels, 7), uint64.
        bits: Of an entry: not empty, significant, valid; of a table's address: mask, left, right.
        wanted: Kinds that are mapped, the flag of no frame.
        lookup, moves: From entries to states.
        rules: A frame's rule for each level and kind, shape (levels, kinds, 5).
        paddrs, mapped: Where the answers go; they say that nothing is mapped.

    Returns:
        Whether NumPy has to do it all over.
    """
    places = np.empty(TOGETHER, np.uint64)
    for first in range(0, vaddrs.shape[0], TOGETHER):
        some = slice(first, min(first + TOGETHER, vaddrs.shape[0]))
        out = paddrs[some], mapped[some]
        if _translate(words, bounds, vaddrs[some], levels, bits, wanted, lookup, moves, rules, places, out) != DONE:
            return UNKNOWN
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
