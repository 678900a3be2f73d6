"""32-bit x86 in bulk: installing leaves what the walk leaves, listings see what it sees; PAE's root is 32 bytes."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

import pagewalk as pw
from pagewalk.formats import NO_PADDR, find_format
from pagewalk.sweep import install
from pagewalk.walk import SKIP, WalkOps
from pagewalk.walk.ranges import walk_page_range_novma_mm
from tests.world import PAGE, RW, G, M

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*no update_mmu_cache hook runs:RuntimeWarning"),
    pytest.mark.usefixtures("engine"),
    pytest.mark.parametrize("name", ["ia32", "pae"]),
]

ROOTS = {"ia32": [0x3000], "pae": [0x3000, 0x3020, 0x3FE0]}
SIZE = 16 * M


def fresh(name, root):
    """Empty tables below a root."""
    return pw.PageTables(pw.Ram(SIZE), root, find_format(name), allocator=pw.RangeAllocator((0x4000, SIZE)))


def decided(form, rng, pages):
    """A value for each page, 0 where there is none: pages, markers, swap."""
    page = [form.leaf_entry(at * PAGE, int(RW)) for at in range(8)]
    shut = [form.last.without_rights(entry) for entry in page]
    choices = [0, 0, *page, *shut, form.guard_entry, form.last.swap(3, 0x1234)]
    return [rng.choice(choices) for _ in range(pages)]


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("start", [0, G - 8 * PAGE, 2 * G + 4 * M - PAGE, (1 << 32) - 1500 * PAGE])
def test_installing(name, at, start):
    root = ROOTS[name][at % len(ROOTS[name])]
    one, many = fresh(name, root), fresh(name, root)
    values = decided(one.format, Random(at), 1500)
    end = start + len(values) * PAGE
    ops = WalkOps(install_pte=lambda addr, *_: values[(addr - start) // PAGE] or SKIP)
    walk_page_range_novma_mm(one, start, end, ops)
    install(many, start, end, np.array(values, np.uint64), skip=np.array(values) == 0)
    assert many.memory.read(0, SIZE) == one.memory.read(0, SIZE)
    assert many.allocator.in_use == one.allocator.in_use


@pytest.mark.parametrize("at", range(3))
def test_listing_and_translating(name, at):
    tables = fresh(name, ROOTS[name][at % len(ROOTS[name])])
    values = decided(tables.format, Random(at), 3000)
    starts = [0, G - 700 * PAGE, (1 << 32) - 3000 * PAGE]
    for start in starts:
        install(tables, start, start + len(values) * PAGE, np.array(values, np.uint64), skip=np.array(values) == 0)
    for start in starts:
        asked = range(start, start + len(values) * PAGE, PAGE)
        paddrs, _ = pw.translate(tables, asked)
        wanted = [tables.format.frame(value, tables.format.last) if value else NO_PADDR for value in values]
        assert paddrs.tolist() == wanted
    rows = pw.mappings(tables)
    held = sum(rows["size"].tolist()) // PAGE
    assert held == len(starts) * sum(value != 0 for value in values)
