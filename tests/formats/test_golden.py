"""Golden entries: the oracles agree with each, and together they leave no bit out."""

from __future__ import annotations

import pytest

from pagewalk.formats import Flag, Kind
from tests.formats.golden_files import FORMATS, about, golden
from tests.reference.families import FAMILIES

HARDWARE = {Kind.NONE, Kind.TABLE, Kind.PRESENT, Kind.RESERVED, Kind.OTHER}
"""The kinds of entries where no operating system adds to them."""


def test_every_family_has_some():
    assert set(FORMATS) == set(FAMILIES)


@pytest.mark.parametrize("name", FORMATS)
class TestGolden:
    def test_the_oracle_agrees(self, name):
        for one in golden(name):
            flags = {flag.name for flag in Flag if flag & one.flags}
            said = (one.kind.label, one.frame, flags, one.memory, one.pkey, one.swap, one.order)
            assert FAMILIES[name].meaning(one.shift, one.entry) == said, f"{name}: {one.entry:#x} ({one.source})"

    def test_there_are_enough(self, name):
        rows = golden(name)
        assert len(rows) >= 40
        assert len({(one.shift, one.entry) for one in rows}) == len(rows)
        guests = sum(one.source.count("-") >= 2 and "/" not in one.source for one in rows)
        assert guests >= 20 or about(name).get("guests") is False  # none was at hand

    def test_every_bit_occurs(self, name):
        seen = 0
        for one in golden(name):
            seen |= one.entry
        every = (1 << 8 * FAMILIES[name].empty().word) - 1
        assert seen == every, f"{~seen & every:#x} are never set"

    def test_every_level_and_every_kind_occur(self, name):
        rows = golden(name)
        assert {one.shift for one in rows} == set(FAMILIES[name].empty().shifts())
        assert {one.kind for one in rows} == (HARDWARE if about(name).get("system") == "none" else set(Kind))

    def test_each_says_who_says_so(self, name):
        assert all(one.source for one in golden(name))
