"""Which rows belong together: the same however they are cut into blocks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pagewalk.formats import NO_PADDR, Flag, find_format
from pagewalk.sweep import Filter, mappings
from pagewalk.sweep.columns import RUNS, Said, part
from pagewalk.sweep.joiner import Joiner
from pagewalk.sweep.runs import joined_runs, spans_by_depth
from tests.reference import Page, joined
from tests.world import World

FORM = find_format("x86-64")
SPANS = spans_by_depth(FORM.real_levels)
EXAMPLES = settings().max_examples
"""Those of the profile."""
REPEATED = int(Flag.REPEATED)


@st.composite
def pages(draw):
    """Rows of single pages by address, close enough to one another to belong together often."""
    rows, vaddr, frame = [], 0, 0
    for _ in range(draw(st.integers(1, 14))):
        depth = draw(st.sampled_from([4] * 9 + [3]))
        span = FORM.levels[depth].span
        vaddr = -(-vaddr // span) * span + draw(st.sampled_from([0] * 9 + [span]))
        step = draw(st.sampled_from(["same", "same", "next", "next", "next", "other", "none"]))
        frame = {"same": frame, "next": frame + span, "other": 9 * span, "none": frame}[step]
        paddr = NO_PADDR if step == "none" else frame
        attributes = draw(st.sampled_from([0] * 9 + [3]))
        said = Said(draw(st.sampled_from([1] * 9 + [3])), draw(st.sampled_from([1] * 9 + [2])), attributes, depth)
        rows.append((vaddr, paddr, said.state, span))
        vaddr += span
    return tuple(np.array(column, dtype) for column, dtype in zip(zip(*rows, strict=True), RUNS.dtypes, strict=True))


def expected(block):
    """What the reference makes of pages."""
    rows = [
        Page(vaddr, None if paddr == NO_PADDR else paddr, size, size, state)
        for vaddr, paddr, state, size in zip(*(column.tolist() for column in block), strict=True)
    ]
    return [
        (vaddr, NO_PADDR if frame is None else frame, state | REPEATED * repeated, size)
        for vaddr, frame, size, state, repeated in joined(rows)
    ]


class Question:
    schema = RUNS

    def joined(self, rows):
        return joined_runs(SPANS, rows)


@settings(max_examples=20 * EXAMPLES)
@given(pages(), st.data())
def test_in_blocks_as_in_one(block, data):
    count = len(block[0])
    cuts = sorted(data.draw(st.sets(st.integers(1, max(count - 1, 1)), max_size=4)))
    blocks = [part(block, slice(low, high)) for low, high in zip([0, *cuts], [*cuts, count], strict=True)]
    found, joiner = [], Joiner(Question())
    for some in blocks:
        joiner.push(tuple(column.copy() for column in joined_runs(SPANS, some)), found.append)
    joiner.close(found.append)
    rows = tuple(np.concatenate(column) for column in zip(*found, strict=True))
    whole = joined_runs(SPANS, block)
    for one in (rows, whole, joined_runs(SPANS, whole)):
        assert list(zip(*(column.tolist() for column in one), strict=True)) == expected(block)


def test_runs_beside_the_wanted_frames_are_no_rows():
    world = World()
    for at in range(4):
        world.put((1 << 30) + at * 4096, FORM.leaf_entry(0x10000 + at * 4096, int(Flag.READ)))
    asked = {
        low: mappings(world.tables, where=Filter(frames=(low, low + 0x1000))) for low in (0x8000, 0x11000, 0x80000)
    }
    assert {low: list(zip(rows.paddr.tolist(), rows.size.tolist(), strict=True)) for low, rows in asked.items()} == {
        0x8000: [],
        0x11000: [(0x11000, 0x1000)],
        0x80000: [],
    }
