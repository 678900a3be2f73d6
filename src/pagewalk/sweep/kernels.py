"""The kernels of ``questions``, compiled by Numba: one pass over the tables where they lie, with no copy.

How it works. ``list_pages`` goes through one table after another. Neighbours are mostly alike, so what an entry's bits
mean is looked up only where they differ from those of the entry before; accessed and dirty, which differ most, pass as
they are. A frame is found by a *rule* for its kind: ``((entry ^ flip) & mask) << left >> right | none``. Eight slots, a
cache line, are passed over at once if they are empty, which is found out for all of a table at first, without a branch.
The next table is asked for meanwhile: they lie scattered, no prefetcher can guess where. Inside the loops no array is
passed on or cut: Numba would count references to it, which costs more than an entry does.

Every constant is a ``uint64``: in Numba a bare literal would turn addresses into signed numbers.

What the kernels are given:

* ``begin``: how many tables, and rows between them, are done already.
* ``words``: the memory as one array, see ``source.InPlace``; its type is that of an entry.
* ``places``, ``vaddrs``, ``rights``: the chunk's tables: number of the first word, first address, rights with all state
  bits set.
* ``limits``: the first slot, counted from the first table's first, and the end; entries of a table.
* ``known``: five things:
  bits of an entry: not empty, significant, reserved, valid, those of a frame's poison and what they are then; shift of
  a slot;
  what is wanted: flags that must be set and must be clear, kinds; the flag of no frame;
  ``lookup`` and ``moves``, from entries to states: shift right, mask, shift left, for three runs of bits;
  a rule for each kind, shape (kinds, 6): of its frame flip, mask, left, right, none; the bits that pass as flags.
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

from pagewalk.formats import Flag, Kind

__all__ = ["count_pages", "fill_empty", "list_pages", "list_runs", "per_entry", "table_driver", "translate"]

ZERO = np.uint64(0)
ONE = np.uint64(1)
EIGHT = np.uint64(8)
WORD = np.uint64(3)  # log2 of the bytes of a word
TOGETHER = 64  # addresses that go down together
AHEAD = 192  # entries of a table that are asked for ahead: 24 cache lines
ALL = np.uint64((1 << 64) - 1)
KIND_SHIFT = np.uint32(24)
FLAGS = np.uint32((1 << 24) - 1)
NONE32, ONE32 = np.uint32(0), np.uint32(1)
HWPOISON = np.uint32(Kind.HWPOISON)
REPEATED = np.uint32(Flag.REPEATED)

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
def _index(key: Any, moves: Any) -> Any:
    """Where in ``lookup`` the significant bits of an entry lead."""
    index = (key >> moves[0] & moves[1]) << moves[2]
    index |= (key >> moves[3] & moves[4]) << moves[5]
    index |= (key >> moves[6] & moves[7]) << moves[8]
    return index


@njit(nogil=True, cache=True, inline="always")
def _nothing_at(words: Any, at: Any) -> Any:
    """Whether eight entries are zero."""
    low = words[at] | words[at + ONE] | words[at + uint64(2)] | words[at + uint64(3)]
    high = words[at + uint64(4)] | words[at + uint64(5)] | words[at + uint64(6)] | words[at + uint64(7)]
    return low | high == ZERO


@njit(nogil=True, cache=True, inline="always")
def _slots(t: Any, limits: Any) -> Any:
    """The slots of the t-th table that lie in the range: first and end."""
    per = limits[2]
    return uint64(max(limits[0] - t * per, 0)), uint64(min(limits[1] - t * per, per))


@njit(nogil=True, cache=True, inline="always")
def _ask_for(words, places, t, per):  # type: ignore[no-untyped-def]
    """Ask for the first lines of a table, if there is one; the rest the prefetcher guesses."""
    if t < places.shape[0]:
        first = places[t]
        for line in range(first, first + uint64(min(per, AHEAD)), EIGHT):
            _prefetch(words, line)  # type: ignore[call-arg]


@njit(nogil=True, cache=True, inline="always")
def _find_groups(words, table, slot, end, groups):  # type: ignore[no-untyped-def]
    """Write down where eight slots of a table begin that are not all zero, or fewer than eight; how many there are."""
    many = ZERO
    while slot < end:
        groups[many] = slot
        many += ZERO if slot + EIGHT <= end and _nothing_at(words, table + slot) else ONE
        slot += EIGHT
    return many


@njit(nogil=True, cache=True)
def _pass_on(end, between, out, above, b, count):  # type: ignore[no-untyped-def]
    """Write the rows of the levels above that lie below an address; all but their depths, whose places are noted."""
    vaddr, paddr, flags, kind, _ = between
    while b < uint64(vaddr.shape[0]) and vaddr[b] < end:
        out[0][count], out[1][count], out[2][count], out[3][count] = vaddr[b], paddr[b], flags[b], kind[b]
        above[b] = count
        b += ONE
        count += ONE
    return b, count


@njit(nogil=True, cache=True)
def list_pages(begin, words, places, vaddrs, rights, limits, known, between, out, raw, depth):  # type: ignore[no-untyped-def]
    """Pages of tables, and the rows between them, by address; ``raw`` takes the entries, if it has room.

    Returns:
        Rows written, tables and rows between them that are done, and why it ends before the last: no room, or NumPy
        has to look at the next table.
    """
    held, significant, reserved, valid, poison, poisoned, shift = known[0]
    having, lacking, kinds, no_frame = known[1]
    lookup, moves, rules = known[2:]
    b_vaddr, _, _, _, b_depth = between
    o_vaddr, o_paddr, o_flags, o_kind, o_depth = out
    per, room, want_raw = uint64(limits[2]), uint64(o_vaddr.shape[0]), raw.shape[0] > 0
    above, groups = np.empty(b_vaddr.shape[0], np.uint64), np.empty(limits[2], np.uint64)
    t, b = begin
    first, count, status = b, ZERO, DONE
    flags, kind, passes = NONE32, NONE32, True
    flip, mask, left, right, none, passing = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    while t < places.shape[0] and room >= count + per + uint64(b_vaddr.shape[0]) - b:
        _ask_for(words, places, t + 1, limits[2])
        if b < uint64(b_vaddr.shape[0]) and b_vaddr[b] < vaddrs[t]:
            b, count = _pass_on(vaddrs[t], between, out, above, b, count)
        table, base, granted, before = places[t], vaddrs[t], rights[t], count
        slot, end = _slots(t, limits)
        many = _find_groups(words, table, slot, end, groups)
        key = ALL  # no key is all ones: an entry has bits that do not matter
        for group in range(many):
            for at in range(groups[group], min(groups[group] + EIGHT, end)):
                entry = words[table + at]
                if entry & held == ZERO:
                    continue
                if entry & significant != key:
                    key = entry & significant
                    state = lookup[_index(key, moves)] & granted
                    kind, flags = state >> KIND_SHIFT, state & FLAGS
                    passes = state & having == having and state & lacking == NONE32 and kinds >> kind & ONE32 != NONE32
                    flip, mask, left, right = rules[kind, 0], rules[kind, 1], rules[kind, 2], rules[kind, 3]
                    framed = state & no_frame == NONE32 and (kind != HWPOISON or entry & poison == poisoned)
                    none = rules[kind, 4] if framed else ALL
                    passing = rules[kind, 5]
                if kind == NONE32 or (entry & reserved != ZERO and entry & valid != ZERO):
                    status = UNKNOWN
                if passes:
                    o_vaddr[count] = base + (at << shift)
                    o_paddr[count] = ((entry ^ flip) & mask) << left >> right | none
                    o_flags[count] = flags | uint32(entry & passing)
                    o_kind[count] = kind
                    if want_raw:
                        raw[count] = entry
                    count += ONE
        if status == UNKNOWN:
            count = before
            break
        t += 1
    if t == places.shape[0]:
        b, count = _pass_on(ALL, between, out, above, b, count)
    o_depth[:count] = depth  # apart: one stream of writes less in the loop
    for at in range(first, b):
        o_depth[above[at]] = b_depth[at]
    return count, t, b, status


@njit(nogil=True, cache=True)
def list_runs(begin, words, places, vaddrs, rights, limits, known, between, out, depth):  # type: ignore[no-untyped-def]
    """Runs of pages of tables, by address; ``out`` has one more column, size. Else as ``list_pages``."""
    o_vaddr, o_paddr, o_flags, o_kind, o_depth, o_size = out
    some, raw = min(8 * limits[2], o_vaddr.shape[0]), np.empty(0, np.uint64)
    vaddr, paddr, flags = np.empty(some, np.uint64), np.empty(some, np.uint64), np.empty(some, np.uint32)
    kind, depths = np.empty(some, np.uint8), np.empty(some, np.uint8)
    pages = vaddr, paddr, flags, kind, depths
    span = ONE << known[0][6]
    count, next_vaddr, next_paddr, this_paddr, last = ZERO, ZERO, ZERO, ALL, NONE32  # no state is 0: a run begins
    many, repeats = ZERO, False
    (t, b), status = begin, DONE
    while t < places.shape[0] and status == DONE and uint64(o_vaddr.shape[0]) >= count + uint64(some):
        found, t, b, status = list_pages(
            (t, b), words, places, vaddrs, rights, limits, known, between, pages, raw, depth
        )
        for at in range(found):
            state = flags[at] | uint32(kind[at]) << KIND_SHIFT
            alike = vaddr[at] == next_vaddr and state == last
            same = alike and paddr[at] == this_paddr and paddr[at] != ALL
            if same and (repeats or many == ONE):
                o_flags[count - ONE] |= REPEATED
                repeats = True
            elif alike and not same and not repeats and paddr[at] == next_paddr:
                many += ONE
            else:  # a run begins, with the page before if that has the same frame
                head = vaddr[at] - span if same else vaddr[at]
                if count != ZERO:
                    o_size[count - ONE] = (head if same else next_vaddr) - o_vaddr[count - ONE]
                o_vaddr[count], o_paddr[count] = head, paddr[at]
                o_flags[count] = flags[at] | REPEATED if same else flags[at]
                o_kind[count], o_depth[count] = kind[at], depth
                count += ONE
                many, repeats, last = ONE, same, state
            this_paddr, next_vaddr = paddr[at], vaddr[at] + span
            next_paddr = paddr[at] + span if paddr[at] != ALL else ALL
    if count != ZERO:
        o_size[count - ONE] = next_vaddr - o_vaddr[count - ONE]
    return count, t, b, status


@njit(nogil=True, cache=True)
def count_pages(words, places, rights, times, limits, known, found):  # type: ignore[no-untyped-def]
    """Count entries by kind into ``found``, each table ``times`` over; whether NumPy has to do it all over."""
    held, significant, reserved, valid, _, _, _ = known[0]
    having, lacking, kinds, _ = known[1]
    lookup, moves, _ = known[2:]
    kind = NONE32
    mine, groups = np.zeros(found.shape[0], np.uint64), np.empty(limits[2], np.uint64)
    for t in range(places.shape[0]):
        _ask_for(words, places, t + 1, limits[2])
        table, granted, weight = places[t], rights[t], times[t]
        slot, end = _slots(t, limits)
        many = _find_groups(words, table, slot, end, groups)
        key = ALL
        for group in range(many):
            for at in range(groups[group], min(groups[group] + EIGHT, end)):
                entry = words[table + at]
                if entry & held == ZERO:
                    continue
                if entry & significant != key:
                    key = entry & significant
                    state = lookup[_index(key, moves)] & granted
                    kind = state >> KIND_SHIFT
                    if kind == NONE32:
                        return UNKNOWN
                    if state & having != having or state & lacking != NONE32 or kinds >> kind & ONE32 == NONE32:
                        kind = NONE32  # what does not pass is counted as nothing
                if entry & reserved != ZERO and entry & valid != ZERO:
                    return UNKNOWN
                mine[kind] += weight
    mine[0] = ZERO
    found += mine
    return DONE


@njit(nogil=True, cache=True)
def _translate(words, segments, root, vaddrs, levels, known, places, out):  # type: ignore[no-untyped-def]
    """Translate some addresses, a level at a time, so that the memory answers for many of them at once."""
    held, significant, valid, address, left, right = known[0]
    kinds, no_frame = known[1]
    lookup, moves, rules = known[2:]
    paddrs, mapped = out
    key, state = ALL, NONE32
    starts, sizes, offsets = segments
    halfway = uint64(starts.shape[0]) >> ONE
    for at in range(vaddrs.shape[0]):
        places[at] = root + (vaddrs[at] >> levels[0, 0] & levels[0, 1])
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
                    segment, half = ZERO, halfway
                    while half != ZERO:  # without a branch on what is found: nobody can guess it
                        segment += half if table >= starts[segment + half] else ZERO
                        half >>= ONE
                    inside, size = table - starts[segment], sizes[segment]
                    if entry & level[4] != ZERO or inside >= size or size - inside < below[6]:
                        return UNKNOWN
                    places[at] = (inside + offsets[segment] >> WORD) + (vaddrs[at] >> below[0] & below[1])
                    _prefetch(words, places[at])  # type: ignore[call-arg]
                    continue
                if entry & level[5] != ZERO:
                    return UNKNOWN
            elif entry & held == ZERO or level[7] == ZERO:
                continue
            if entry & significant != key:
                key = entry & significant
                state = lookup[_index(key, moves)]
                if state == NONE32:
                    return UNKNOWN
            kind = state >> KIND_SHIFT
            if kinds >> kind & ONE32 == NONE32:
                continue
            mapped[at] = True
            if state & no_frame == NONE32:
                frame = (entry ^ rules[depth, kind, 0]) & rules[depth, kind, 1]
                frame = frame << rules[depth, kind, 2] >> rules[depth, kind, 3] | rules[depth, kind, 4]
                paddrs[at] = frame | vaddrs[at] & (ONE << level[0]) - ONE
    return DONE


@njit(nogil=True, cache=True)
def translate(words, segments, root, vaddrs, levels, known, paddrs, mapped):  # type: ignore[no-untyped-def]
    """Translate addresses.

    Args:
        words: The memory, shape (n,).
        segments: Where it is: first address, bytes, and offset in ``words`` of each segment, ascending; filled up with
            empty ones at the last address to a power of two.
        root: The number of the top table's first word.
        vaddrs: The addresses, all of them canonical.
        levels: For each shift, mask of the index, mask and value of a table's entry, what is reserved in it and in a
            page's, bytes of a table, whether it has pages. Shape (levels, 8), uint64.
        known: As above, but for bits of an entry (not empty, significant, valid) and a table's address (mask, left,
            right), what is wanted (kinds that are mapped, the flag of no frame) and rules (one more axis, the level's).
        paddrs, mapped: Where the answers go; they say that nothing is mapped.

    Returns:
        Whether NumPy has to do it all over.
    """
    places = np.empty(TOGETHER, np.uint64)
    for first in range(0, vaddrs.shape[0], TOGETHER):
        some = slice(first, min(first + TOGETHER, vaddrs.shape[0]))
        out = paddrs[some], mapped[some]
        if _translate(words, segments, root, vaddrs[some], levels, known, places, out) != DONE:
            return UNKNOWN
    return DONE


@njit(nogil=True, cache=True)
def fill_empty(words, places, limits, held, value):  # type: ignore[no-untyped-def]
    """Put a value into the empty slots of tables, from the first place to the last; how many there were."""
    count = 0
    for t in range(places.shape[0]):
        table = places[t]
        slot, end = _slots(t, limits)
        for at in range(table + slot, table + end):
            if words[at] & held == ZERO:
                words[at] = value
                count += 1
    return count


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
