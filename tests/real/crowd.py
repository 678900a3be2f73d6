"""Which processes a guest of many has: the roots that its CPU is seen to use, one after the other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pagewalk.formats import from_registers

if TYPE_CHECKING:
    from tests.real.boot import Guest

__all__ = ["roots_seen"]

SECONDS: Final = 5.0
"""How long to look; processes take turns of their own will, so chance decides which are seen."""


def roots_seen(guest: Guest, seconds: float = SECONDS) -> set[int]:
    """The user's roots of processes, as the CPU has them while they run: of all, or of those that have a turn."""
    architecture = guest.machine.architecture
    seen: set[int] = set()
    end = time.monotonic() + seconds
    while len(seen) < guest.truth.processes and time.monotonic() < end:
        if guest.stub.register(architecture.counter) < architecture.kernel:
            values = {name: guest.stub.register(name) for name in architecture.registers}
            seen.add(from_registers(values).windows[0].root)
        with guest.running():
            time.sleep(0.004)
    return seen
