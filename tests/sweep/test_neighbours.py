"""Neighbours that differ in a few bits: what Numba's kernels say by those before, NumPy says of each."""

import importlib.util

import numpy as np
import pytest

import pagewalk as pw
from pagewalk import sweep
from pagewalk.formats import FORMATS, Flag, Kind, Window
from pagewalk.memory import FlatMemory, Segment
from pagewalk.testing.definition import real_levels
from tests.formats.golden_files import golden

TABLES = 8
ASKED = (
    None,
    sweep.Filter(having=Flag.DIRTY),
    sweep.Filter(lacking=Flag.WRITE, kinds=[Kind.PRESENT]),
)


def neighbours(level, base, random):
    """Entries of some tables: half have one bit turned, of every other table half a second one, and a few a third."""
    entries = np.full((TABLES, level.entries), base, level.word.dtype)
    for at, part in enumerate(entries):
        for share in (0.5, 0.5 * (at % 2), 0.02):
            turned = np.array(1 << int(random.integers(8 * level.word.size)), level.word.dtype)
            part ^= turned * (random.random(len(part)) < share).astype(level.word.dtype)
    return entries


def tables_of(form, entries):
    """Page tables of two levels, these entries in those of the last."""
    above, last = real_levels(form)[-2:]
    at = next(number for number, level in enumerate(form.hardware) if level.shift == above.shift)
    first = max(above.table_bytes, last.table_bytes)
    places = [first + number * last.table_bytes for number in range(TABLES)]
    memory = bytearray(first + TABLES * last.table_bytes)
    memory[: TABLES * above.word.size] = above.word.pack([above.table(place) for place in places])
    memory[first:] = entries.tobytes()
    window = Window(0, above.span << above.index_bits, 0, at)
    return pw.PageTables(FlatMemory([Segment(0, memory)]), format=form, windows=[window])


def rows_of(tables, engine, where):
    """What an engine lists, and what it finds wrong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAGEWALK_ENGINE", engine)
        findings = []
        rows = sweep.mappings(tables, coalesce=False, entries=True, where=where, findings=findings)
    columns = [getattr(rows, name).tolist() for name in ("vaddr", "size", "paddr", "flags", "kind", "memory", "entry")]
    return columns, list(map(str, findings))


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="Numba is not installed")
@pytest.mark.parametrize("name", FORMATS)
def test_engines_agree(name):
    form, random = pw.formats.find_format(name), np.random.default_rng(11)
    last = real_levels(form)[-1]
    mine = [one.entry for one in golden(name) if one.shift == last.shift and last.kind(one.entry) == Kind.PRESENT]
    for entry in random.choice(mine, 5).tolist():
        tables = tables_of(form, neighbours(last, entry, random))
        for where in ASKED:
            assert rows_of(tables, "numba", where) == rows_of(tables, "numpy", where), f"{entry:#x}, {where}"
