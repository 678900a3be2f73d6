"""Which processes a guest of many has: the roots that its CPU is seen to use, one after the other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pagewalk.formats import from_registers

if TYPE_CHECKING:
    from tests.real.boot import Guest

__all__ = ["roots_seen"]

SECONDS: Final = 240.0
"""Until all processes must have had their turn; they take turns of their own will, so chance decides."""


def roots_seen(guest: Guest) -> set[int]:
    """The user's root of each process, as the CPU has it while the process runs.

    Raises:
        RuntimeError: Some process is not seen.
    """
    architecture, seen = guest.machine.architecture, set()
    end = time.monotonic() + SECONDS
    while len(seen) < guest.truth.processes:
        if time.monotonic() > end:
            raise RuntimeError(f"{guest.machine.name}: {len(seen)} of {guest.truth.processes} processes seen")
        if guest.stub.register(architecture.counter) < architecture.kernel:
            values = {name: guest.stub.register(name) for name in architecture.registers}
            seen.add(from_registers(values).windows[0].root)
        with guest.running():
            time.sleep(0.004)
    return seen
