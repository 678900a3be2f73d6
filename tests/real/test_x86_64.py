"""x86-64 guests, every page against their kernels' word."""

from __future__ import annotations

import pytest

import pagewalk as pw
from tests.real.architectures import X86_64 as ARCHITECTURE
from tests.real.edits import TestByHand, TestByTheGuest, holes
from tests.real.every_page import TestEveryEntry, TestKernelHalf, TestUserHalf
from tests.real.isolated import TestIsolation, sides

__all__ = [
    "ARCHITECTURE",
    "TestByHand",
    "TestByTheGuest",
    "TestEveryEntry",
    "TestIsolation",
    "TestKernelHalf",
    "TestUserHalf",
    "holes",
    "sides",
]

pytestmark = [pytest.mark.real, pytest.mark.slow]


class TestPti:
    """The kernel's top table has a program's pages too (arch/x86/mm/pti.c, Linux 6.1)."""

    def test_none_can_be_executed(self, sides):
        """XD there refuses it, whatever is below: a way out of the kernel that leaves CR3 as it is must crash."""
        half = {"start": 0, "end": 1 << 47, "coalesce": False, "hardware": True, "having": pw.Flag.EXEC}
        program, kernel = (pw.mappings(guest.tables(), **half) for guest in sides)
        assert len(program) > 50
        assert len(kernel) == 0
