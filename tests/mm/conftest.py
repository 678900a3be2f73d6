"""A machine for each test, and the books checked after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pagewalk.mm import Machine
from tests.mm.fuzz import Tank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def new_tank() -> Iterator[Callable[..., Tank]]:
    """Make tanks; when the test is over, their books balance and they empty."""
    made: list[Tank] = []

    def make(ram: int = 32 << 20, **options: object) -> Tank:
        made.append(Tank(Machine(ram, **options)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for tank in made:
        tank.check()
        tank.empty()
