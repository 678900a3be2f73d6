"""32-bit x86 guests, every page against their kernels' word."""

from __future__ import annotations

import pytest

from tests.real.architectures import I386 as ARCHITECTURE
from tests.real.edits import TestByHand, TestByTheGuest, holes
from tests.real.every_page import TestEveryEntry, TestKernelHalf, TestUserHalf

__all__ = ["ARCHITECTURE", "TestByHand", "TestByTheGuest", "TestEveryEntry", "TestKernelHalf", "TestUserHalf", "holes"]

pytestmark = [pytest.mark.real, pytest.mark.slow]
