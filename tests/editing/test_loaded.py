"""Which CPUs a plan names."""

from __future__ import annotations

import pytest

import pagewalk as pw
from pagewalk.editing.loaded import loaded
from tests.world import G, World

ROOT, OTHER = 0, 0x5000
LONG = {"cr0": 0x8005_0033, "cr4": 0x6F0, "efer": 0xD01}


@pytest.fixture
def tables():
    """Page tables of a machine with three CPUs, the last of which does not translate."""
    world = World()
    world.map(G, 0x3000)
    world.memory.cpus = (LONG | {"cr3": OTHER}, LONG | {"cr3": ROOT}, {"cr0": 0x11, "cr3": ROOT})
    return world.tables


class TestLoaded:
    def test_by_their_roots(self, tables):
        assert loaded(tables, 0, [G]) == (1,)
        assert loaded(tables, OTHER, [G]) == (0, 1)

    def test_the_kernel_is_everywhere(self, tables):
        assert loaded(tables, 0, [G, 0xFFFF_8000_0000_0000]) == (0, 1, 2)

    def test_nobody_knows(self):
        assert loaded(World().tables, 0, [G]) is None

    def test_the_plan_says_it(self, tables):
        with pw.edit(tables) as change:
            change.protect(G, 4096, "r--u")
            assert "on every CPU that may have used these tables, CPU 1 now (" in str(change.plan())
            assert change.plan().json()["cpus"] == [1]
