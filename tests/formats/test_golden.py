"""Golden entries: the oracles agree with each, and together they leave no bit out."""

from __future__ import annotations

import pytest

from tests.formats.golden import FORMATS, golden
from tests.reference.families import FAMILIES

FLAGS = {
    "READ", "WRITE", "EXEC", "USER", "GLOBAL", "ACCESSED", "DIRTY", "SPECIAL", "SOFT_DIRTY", "UFFD_WP", "EXCLUSIVE",
    "SAVED_DIRTY",
}  # fmt: skip
KINDS = {
    "none", "table", "present", "prot_none", "swap", "migration", "guard", "uffd_wp", "hwpoison", "reserved", "other",
}  # fmt: skip


def test_every_family_has_some():
    assert set(FORMATS) == set(FAMILIES)


@pytest.mark.parametrize("name", FORMATS)
class TestGolden:
    def test_the_oracle_agrees(self, name):
        for one in golden(name):
            assert FAMILIES[name].meaning(one.shift, one.entry) == one[3:], f"{name}: {one} ({one.source})"

    def test_there_are_enough(self, name):
        rows = golden(name)
        assert len(rows) >= 40
        assert len({(one.shift, one.entry) for one in rows}) == len(rows)
        assert sum(one.source.count("-") >= 2 and "/" not in one.source for one in rows) >= 20  # of a guest

    def test_every_bit_occurs(self, name):
        seen = 0
        for one in golden(name):
            seen |= one.entry
        assert seen == (1 << 64) - 1, f"{~seen & (1 << 64) - 1:#018x} are never set"

    def test_every_level_and_every_kind_occur(self, name):
        rows = golden(name)
        assert {one.shift for one in rows} == set(FAMILIES[name].make(lambda _: None, 0).shifts())
        assert {one.kind for one in rows} == KINDS

    def test_words_are_known(self, name):
        for one in golden(name):
            assert one.kind in KINDS
            assert one.flags <= FLAGS
            assert one.source
