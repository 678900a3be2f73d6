"""arm64 guests, every page against their kernels' word."""

from __future__ import annotations

import pytest

from tests.real.architectures import AARCH64 as ARCHITECTURE
from tests.real.edits import TestByHand, TestByTheGuest, holes
from tests.real.every_page import TestKernelHalf, TestUserHalf
from tests.real.isolated import TestIsolation, sides

__all__ = [
    "ARCHITECTURE",
    "TestByHand",
    "TestByTheGuest",
    "TestIsolation",
    "TestKernelHalf",
    "TestUserHalf",
    "holes",
    "sides",
]

pytestmark = [pytest.mark.real, pytest.mark.slow]
