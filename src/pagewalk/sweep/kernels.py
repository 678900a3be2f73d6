"""The kernels of ``questions``, compiled by Numba: one pass over the tables where they lie, with no copy.

How it works. ``list_pages`` goes through one table after another. Neighbours are mostly alike, so what an entry's bits
mean is looked up only where they differ from those of the entry before, or bits are set that must be clear; accessed
and dirty, which differ most, pass as they are. Where they cannot (arm64 says dirty with two bits), the one bit in which
two entries of a sort differ becomes the *turn*: with it an entry has the state of one, without it that of the other.
A frame is found by the *rule* for its shape, which ``formats`` derives from rows. Eight slots, a cache line, are passed
over at once if they are empty, which is found out for all of a table at first, without a branch. The next table is
asked for meanwhile: they lie scattered, no prefetcher can guess where. Inside the loops no array is passed on or cut:
Numba would count references to it, which costs more than an entry does.

Every constant is a ``uint64``: in Numba a bare literal would turn addresses into signed numbers.

What the kernels are given:

* ``begin``: how many tables, and rows between them, are done already.
* ``words``: the memory as one array, see ``source.InPlace``; its type is that of an entry.
* ``places``, ``vaddrs``, ``parts``: the chunk's tables: number of the first word, first address, and where ``lookup``
  has the states of entries to which the levels above grant what they grant these.
* ``limits``: the first slot, counted from the first table's first, and the end; entries of a table.
* ``known``: five things:
  of an entry: mask and value of those to be passed over, the bits that tell what it is; shift of a slot;
  what is wanted: flags that must be set and must be clear, kinds; the flag of no frame;
  ``lookup`` and ``moves``, from entries to states: shift right, mask, shift left, for three runs of bits;
  a rule for each shape, shape (shapes, RULE): the columns are named below.
* ``between``: rows of the levels above: vaddr, place, state. ``out``: the same columns, to be written.
* ``depth``: the depth, where a row's state has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types, uint32, uint64
from numba.extending import intrinsic

from pagewalk.formats import Flag, Kind, Rights, codec, grants

__all__ = ["count_pages", "fill_empty", "list_pages", "list_runs", "translate"]

ZERO = np.uint64(0)
ONE = np.uint64(1)
EIGHT = np.uint64(8)
WORD = np.uint64(3)  # log2 of the bytes of a word
TOGETHER = 256  # addresses that go down together
AHEAD = 192  # entries of a table that are asked for ahead: 24 cache lines
ALL = np.uint64((1 << 64) - 1)
KIND_SHIFT, KINDS = np.uint32(codec.KIND_SHIFT), np.uint32(codec.KINDS)
SHAPE_SHIFT, SHAPES = np.uint32(codec.SHAPE_SHIFT), np.uint32(7)
UNSHAPED = np.uint32(0xFFFF_FFFF ^ 7 << codec.SHAPE_SHIFT)
NONE32, ONE32 = np.uint32(0), np.uint32(1)
SORT = np.uint32(codec.KINDS << codec.KIND_SHIFT | 7 << codec.SHAPE_SHIFT)
RESERVED = np.uint32(Kind.RESERVED)
REPEATED = np.uint32(Flag.REPEATED)
EVERY_RIGHT, NO_RIGHTS, NOT_PERMITTED = np.uint8(Rights.all()), np.uint8(grants.UNKNOWN), np.uint8(0)
AGES, AGE_FROM, AGE_TO = np.uint32(grants.AGES), np.uint32(grants.AGE_FROM), np.uint32(grants.AGE_TO)
KEYS, KEY_FROM, KEY_TO = np.uint32(grants.KEYS), np.uint32(grants.KEY_FROM), np.uint32(grants.KEY_TO)
GROUPED, GROUP_SHIFT = np.uint32(Flag.GROUPED), np.uint32(27)  # from its place to 16: kinds of groups come after kinds

# The columns of a rule: ``((entry ^ flip) & mask) << left >> right | none``; where there is ``more``, or something to
# fill in from the virtual address, also ``(entry & more) << more_left >> more_right | vaddr & fill``. ``passing``: bits
# that are flags when they are shifted ``down``. ``decides``: bits that tell what an entry is once it is of the shape.
# ``must``: bits that must be clear.
FLIP, MASK, LEFT, RIGHT, NO_ADDRESS, PASSING, DOWN, DECIDES, MORE, MORE_LEFT, MORE_RIGHT, FILL, MUST = range(13)

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


@intrinsic
def _seldom(typing: Any, condition: Any) -> Any:
    """A condition that mostly does not hold: what follows keeps out of the way."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bit = ir.IntType(1)
        function = builder.module.declare_intrinsic("llvm.expect", [bit], ir.FunctionType(bit, [bit, bit]))
        return builder.call(function, [arguments[0], bit(0)])

    return types.boolean(types.boolean), generate


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
def _pass_on(end, between, out, b, count):  # type: ignore[no-untyped-def]
    """Write the rows of the levels above that lie below an address."""
    vaddr, place, state = between
    while b < uint64(vaddr.shape[0]) and vaddr[b] < end:
        out[0][count], out[1][count], out[2][count] = vaddr[b], place[b], state[b]
        b += ONE
        count += ONE
    return b, count


@njit(nogil=True, cache=True, inline="always")
def _first(rules, state, no_frame):  # type: ignore[no-untyped-def]
    """How entries of a state name a frame by its first part, and whether there is a rest."""
    shape = state >> SHAPE_SHIFT & SHAPES
    none = rules[shape, NO_ADDRESS] if state & no_frame == NONE32 else ALL
    frame = rules[shape, FLIP], rules[shape, MASK], rules[shape, LEFT], rules[shape, RIGHT]
    more = rules[shape, MORE] | rules[shape, FILL] != ZERO
    return frame[0], frame[1], frame[2], frame[3], none, more


@njit(nogil=True, cache=True, inline="always")
def _rest(rules, shape, entry, vaddr):  # type: ignore[no-untyped-def]
    """What the first part leaves open of an address: its second part, and what the virtual address says."""
    more = (entry & rules[shape, MORE]) << rules[shape, MORE_LEFT] >> rules[shape, MORE_RIGHT]
    return more | vaddr & rules[shape, FILL]


@njit(nogil=True, cache=True, inline="always")
def _passing(rules, state):  # type: ignore[no-untyped-def]
    """The bits of entries of a state that pass as flags, how far they are shifted, and the flags that they can be."""
    shape = state >> SHAPE_SHIFT & SHAPES
    passing, down = rules[shape, PASSING], rules[shape, DOWN]
    return passing, down, uint32(passing >> down)


@njit(nogil=True, cache=True, inline="always")
def _decides(rules, state):  # type: ignore[no-untyped-def]
    """The bits that must be clear in entries of a state, all where NumPy has to look; and those and what decides."""
    known = state != NONE32 and state >> KIND_SHIFT & KINDS != RESERVED
    must = rules[state >> SHAPE_SHIFT & SHAPES, MUST] if known else ALL
    return must, rules[state >> SHAPE_SHIFT & SHAPES, DECIDES] | must


@njit(nogil=True, cache=True, inline="always")
def _turn(other, differs):  # type: ignore[no-untyped-def]
    """The bit that alone tells an entry from those before, if they are of a sort."""
    return other if other & other - ONE | uint64(differs) == ZERO else ZERO


@njit(nogil=True, cache=True, inline="always")
def _passes(state, having, lacking, kinds):  # type: ignore[no-untyped-def]
    """Whether entries of a state are wanted."""
    kind = state >> KIND_SHIFT & KINDS
    return state & having == having and state & lacking == NONE32 and kinds >> kind & ONE32 != NONE32


@njit(nogil=True, cache=True)
def list_pages(begin, words, places, vaddrs, parts, limits, known, between, out, raw, depth):  # type: ignore[no-untyped-def]
    """Pages of tables, and the rows between them, by address; ``raw`` takes the entries, if it has room.

    Returns:
        Rows written, tables and rows between them that are done, and why it ends before the last: no room, or NumPy
        has to look at the next table.
    """
    skip, skipped, telling, shift = known[0]
    having, lacking, kinds, no_frame = known[1]
    lookup, moves, rules = known[2:]
    (o_vaddr, o_place, o_state), b_vaddr = out, between[0]
    per, room, want_raw = uint64(limits[2]), uint64(o_vaddr.shape[0]), raw.shape[0] > 0
    (t, b), groups = begin, np.empty(limits[2], np.uint64)
    count, status, said, passes = ZERO, DONE, NONE32, True
    flip, mask, left, right, none, passing, down = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    state, more, special, turn, turned = NONE32, False, False, ZERO, NONE32
    alike = having | lacking | no_frame | SORT
    while t < places.shape[0] and room >= count + per + uint64(b_vaddr.shape[0]) - b:
        _ask_for(words, places, t + 1, limits[2])
        if b < uint64(b_vaddr.shape[0]) and b_vaddr[b] < vaddrs[t]:
            b, count = _pass_on(vaddrs[t], between, out, b, count)
        table, base, part, before = places[t], vaddrs[t], parts[t], count
        slot, end = _slots(t, limits)
        many = _find_groups(words, table, slot, end, groups)
        key, deciding, turn = ALL, telling, ZERO  # no key is all ones: an entry has bits that do not matter
        for group in range(many):
            for at in range(groups[group], min(groups[group] + EIGHT, end)):
                entry = words[table + at]
                if entry & skip == skipped:
                    continue
                if _seldom(entry & deciding != key):  # type: ignore[call-arg]
                    was, other = state, turn | entry & deciding ^ key
                    state = lookup[part + _index(entry & telling, moves)]
                    flip, mask, left, right, none, more = _first(rules, state, no_frame)
                    passing, down, asked = _passing(rules, state)
                    must, deciding = _decides(rules, state)
                    turn = _turn(other, (state ^ was) & alike)
                    said, turned = state & UNSHAPED & ~asked | depth, (state ^ was) & UNSHAPED & ~asked
                    said, deciding = said ^ turned if entry & turn != ZERO else said, deciding ^ turn
                    key, special = entry & deciding, more or turn != ZERO
                    passes = _passes(state, having, lacking, kinds)
                    status = UNKNOWN if entry & must != ZERO else status
                if passes:
                    o_vaddr[count] = base + (at << shift)
                    o_place[count] = ((entry ^ flip) & mask) << left >> right | none
                    o_state[count] = said | uint32((entry & passing) >> down)
                    if _seldom(special):
                        if more:
                            o_place[count] |= _rest(rules, state >> SHAPE_SHIFT & SHAPES, entry, base + (at << shift))
                        o_state[count] ^= turned if entry & turn != ZERO else NONE32
                    if _seldom(want_raw):
                        raw[count] = entry
                    count += ONE
        if status == UNKNOWN:
            count = before
            break
        t += 1
    if t == places.shape[0]:
        b, count = _pass_on(ALL, between, out, b, count)
    return count, t, b, status


@njit(nogil=True, cache=True)
def list_runs(begin, words, places, vaddrs, parts, limits, known, between, out, depth):  # type: ignore[no-untyped-def]
    """Runs of pages of tables, by address; ``out`` has one more column, size. Else as ``list_pages``."""
    o_vaddr, o_place, o_state, o_size = out
    some, raw = min(8 * limits[2], o_vaddr.shape[0]), np.empty(0, np.uint64)
    vaddr, place, state = np.empty(some, np.uint64), np.empty(some, np.uint64), np.empty(some, np.uint32)
    pages = vaddr, place, state
    span = ONE << known[0][3]
    count, next_vaddr, next_place, this_place, last = ZERO, ZERO, ZERO, ALL, NONE32  # no state is 0: a run begins
    many, repeats = ZERO, False
    (t, b), status = begin, DONE
    while t < places.shape[0] and status == DONE and uint64(o_vaddr.shape[0]) >= count + uint64(some):
        found, t, b, status = list_pages(
            (t, b), words, places, vaddrs, parts, limits, known, between, pages, raw, depth
        )
        for at in range(found):
            alike = vaddr[at] == next_vaddr and state[at] == last
            same = alike and place[at] == this_place and place[at] != ALL
            if same and (repeats or many == ONE):
                o_state[count - ONE] |= REPEATED
                repeats = True
            elif alike and not same and not repeats and place[at] == next_place:
                many += ONE
            else:  # a run begins, with the page before if that has the same frame
                head = vaddr[at] - span if same else vaddr[at]
                if count != ZERO:
                    o_size[count - ONE] = (head if same else next_vaddr) - o_vaddr[count - ONE]
                o_vaddr[count], o_place[count] = head, place[at]
                o_state[count] = state[at] | REPEATED if same else state[at]
                count += ONE
                many, repeats, last = ONE, same, state[at]
            this_place, next_vaddr = place[at], vaddr[at] + span
            next_place = place[at] + span if place[at] != ALL else ALL
    if count != ZERO:
        o_size[count - ONE] = next_vaddr - o_vaddr[count - ONE]
    return count, t, b, status


@njit(nogil=True, cache=True)
def count_pages(words, places, parts, times, limits, known, found):  # type: ignore[no-untyped-def]
    """Count entries by kind into ``found``, each table ``times`` over, those of groups behind the others.

    Returns:
        Whether NumPy has to do it all over.
    """
    skip, skipped, telling, _ = known[0]
    having, lacking, kinds, _ = known[1]
    lookup, moves, rules = known[2:]
    kind, deciding = NONE32, telling
    mine, groups = np.zeros(found.shape[0], np.uint64), np.empty(limits[2], np.uint64)
    for t in range(places.shape[0]):
        _ask_for(words, places, t + 1, limits[2])
        table, part, weight = places[t], parts[t], times[t]
        slot, end = _slots(t, limits)
        many = _find_groups(words, table, slot, end, groups)
        key, deciding = ALL, telling
        for group in range(many):
            for at in range(groups[group], min(groups[group] + EIGHT, end)):
                entry = words[table + at]
                if entry & skip == skipped:
                    continue
                if entry & deciding != key:
                    state = lookup[part + _index(entry & telling, moves)]
                    must, deciding = _decides(rules, state)
                    if entry & must != ZERO:
                        return UNKNOWN
                    key, kind = entry & deciding, state >> KIND_SHIFT & KINDS
                    if not _passes(state, having, lacking, kinds):
                        kind = NONE32  # what does not pass is counted as nothing
                    kind |= (state & GROUPED) >> GROUP_SHIFT
                mine[kind] += weight
    mine[0] = mine[GROUPED >> GROUP_SHIFT] = ZERO
    found += mine
    return DONE


@njit(nogil=True, cache=True, inline="always")
def _code(rights: Any, state: Any) -> Any:
    """Where in the table of what is permitted a page is found, by its rights and its state (``grants.code_of``)."""
    return uint32(rights) | (state >> AGE_FROM & AGES) << AGE_TO | (state >> KEY_FROM & KEYS) << KEY_TO


@njit(nogil=True, cache=True, inline="always")
def _segment_of(starts, halfway, paddr):  # type: ignore[no-untyped-def]
    """The segment that an address may lie in, without a branch on what is found: nobody can guess it."""
    segment, half = ZERO, halfway
    while half != ZERO:
        segment += half if paddr >= starts[segment + half] else ZERO
        half >>= ONE
    return segment


@njit(nogil=True, cache=True, inline="always")
def _page_of(rules, shape, entry, vaddr, shift):  # type: ignore[no-untyped-def]
    """Where an entry that maps a page leads an address."""
    frame = ((entry ^ rules[shape, FLIP]) & rules[shape, MASK]) << rules[shape, LEFT] >> rules[shape, RIGHT]
    if rules[shape, MORE] | rules[shape, FILL] != ZERO:
        frame |= _rest(rules, shape, entry, vaddr)
    return frame | vaddr & (ONE << shift) - ONE


@njit(nogil=True, cache=True)
def _step_down(words, segments, vaddrs, around, known, wanted, asked, depth, room, out):  # type: ignore[no-untyped-def]
    """Take addresses down by a level, or to their pages; ``around`` is the level, and the one below."""
    (level, below), (lookup, moves, rules), (kinds, bare_kinds, bare, no_frame) = around, known, wanted
    (paddrs, mapped), (places, granted), (starts, sizes, offsets) = out, room, segments
    if asked is not None:
        all_grants, masks, grant_moves, permits = asked
    halfway = uint64(starts.shape[0]) >> ONE
    start, size, ahead = starts[0], sizes[0], offsets[0]
    shift, tested, table, held, telling = level[0], level[2], level[3], level[5], level[7]
    down, slots, below_size, usual, within = below[0], below[1], below[6], level[8], (ONE << shift) - ONE
    table_must, table_mask, table_more = rules[level[4], MUST], rules[level[4], MASK], rules[level[4], MORE]
    table_left, table_right = rules[level[4], LEFT], rules[level[4], RIGHT]  # in a tuple they were read each time
    flip, mask, left, right = rules[usual, FLIP], rules[usual, MASK], rules[usual, LEFT], rules[usual, RIGHT]
    whole = rules[usual, MORE] | rules[usual, FILL] == ZERO
    for at in range(vaddrs.shape[0]):
        if places[at] == ALL:
            continue
        entry, places[at] = words[places[at]], ALL
        if entry & tested == table:  # a table, mostly, and then this is all
            if entry & table_must != ZERO:
                return UNKNOWN
            child = (entry & table_mask) << table_left >> table_right
            if table_more != ZERO:
                child |= _rest(rules, level[4], entry, ZERO)
            if halfway != ZERO:
                segment = _segment_of(starts, halfway, child)
                start, size, ahead = starts[segment], sizes[segment], offsets[segment]
            inside = child - start
            if inside >= size or size - inside < below_size:
                return UNKNOWN
            if asked is not None:
                own = all_grants[depth][_index(entry & masks[depth], grant_moves[depth])]
                if own == NO_RIGHTS:
                    return UNKNOWN
                granted[at] &= own
            places[at] = (inside + ahead >> WORD) + (vaddrs[at] >> down & slots)
            _prefetch(words, places[at])  # type: ignore[call-arg]
            continue
        if entry & held == ZERO:
            continue
        state = lookup[_index(entry & telling, moves)]  # always: neighbours differ here
        kind, shape = state >> KIND_SHIFT & KINDS, state >> SHAPE_SHIFT & SHAPES
        if state == NONE32 or kind == RESERVED or entry & rules[shape, MUST] != ZERO:
            return UNKNOWN
        if (kinds if vaddrs[at] < bare else bare_kinds) >> kind & ONE32 == NONE32:
            continue
        if asked is not None:
            own = all_grants[depth][_index(entry & masks[depth], grant_moves[depth])]
            if own == NO_RIGHTS:
                return UNKNOWN
            if permits[depth, _code(granted[at] & own, state)] == NOT_PERMITTED:
                continue
        mapped[at] = True
        if state & no_frame == NONE32:
            if whole and shape == usual:
                paddrs[at] = ((entry ^ flip) & mask) << left >> right | vaddrs[at] & within
            else:
                paddrs[at] = _page_of(rules, shape, entry, vaddrs[at], shift)
    return DONE


@njit(nogil=True, cache=True)
def _translate(words, segments, root, vaddrs, levels, known, asked, room, out):  # type: ignore[no-untyped-def]
    """Translate some addresses, a level at a time, so that the memory answers for many of them at once."""
    wanted, lookups, all_moves, all_rules = known
    places, granted = room
    granted[:] = EVERY_RIGHT
    for at in range(vaddrs.shape[0]):
        places[at] = root + (vaddrs[at] >> levels[0, 0] & levels[0, 1])
    for depth in range(levels.shape[0]):
        around = levels[depth], levels[min(depth + 1, levels.shape[0] - 1)]
        what = lookups[depth], all_moves[depth], all_rules[depth]
        if _step_down(words, segments, vaddrs, around, what, wanted, asked, depth, room, out) != DONE:
            return UNKNOWN
    return DONE


@njit(nogil=True, cache=True)
def translate(words, segments, root, vaddrs, levels, known, asked, paddrs, mapped):  # type: ignore[no-untyped-def]
    """Translate addresses.

    Args:
        words: The memory, shape (n,).
        segments: Where it is: first address, bytes, and offset in ``words`` of each segment, ascending; filled up with
            empty ones at the last address to a power of two.
        root: The number of the top table's first word.
        vaddrs: The addresses, all of them of its window.
        levels: For each shift, mask of the index, mask and value of a table's entry, its shape, the bits that an entry
            has which is not empty, bytes of a table, significant bits, the shape of most pages.
            Shape (levels, 9), uint64.
        known: What is wanted (kinds that are mapped; those that are from an address on, and that address; the flag of
            no frame); ``lookup``, ``moves`` and rules of each level.
        asked: None, or for an access, each level's: rights that entries grant, the bits that tell them and where those
            are found, and what is permitted.
        paddrs, mapped: Where the answers go; they say that nothing is mapped.

    Returns:
        Whether NumPy has to do it all over.
    """
    room = np.empty(TOGETHER, np.uint64), np.empty(TOGETHER, np.uint8)
    for first in range(0, vaddrs.shape[0], TOGETHER):
        some = slice(first, min(first + TOGETHER, vaddrs.shape[0]))
        out = paddrs[some], mapped[some]
        if _translate(words, segments, root, vaddrs[some], levels, known, asked, room, out) != DONE:
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
