"""The simulated address space as a side of a comparison."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pagewalk.conform.side import Model

if TYPE_CHECKING:
    from pagewalk.conform.target import Target
    from pagewalk.mm.files import File
    from pagewalk.mm.machine import Machine, Policy
    from pagewalk.mm.mm import Mm

__all__ = ["SimulatedProcess", "running_policy", "simulated"]

_RAM = 256 << 20


class SimulatedProcess:
    """An ``Mm`` as a ``Target``: its own methods, and the files that a scenario asks for."""

    def __init__(self, machine: Machine, mm: Mm) -> None:
        self._machine = machine
        self._mm = mm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mm, name)

    def fork(self) -> SimulatedProcess:
        """The child."""
        return SimulatedProcess(self._machine, self._mm.fork())

    def file(self, name: str, data: bytes, kind: str) -> File:
        """A file on the machine.

        Raises:
            OSError: A kind that a machine does not have (EOPNOTSUPP).
        """
        if kind != "memfd":
            raise OSError(errno.EOPNOTSUPP, f"the model has no {kind} files")
        return self._machine.file(f"/memfd:{name}", contents=data)

    def punch_hole(self, file: File, offset: int, length: int) -> None:
        """See ``Calls``."""
        self._machine.punch_hole(file, offset, length)

    def truncate(self, file: File, size: int) -> None:
        """See ``Calls``."""
        self._machine.truncate(file, size)


def simulated(name: str = "model", *, ram: int = _RAM) -> Model:
    """A side that starts each scenario on a new machine, set up as the running kernel is.

    Args:
        name: What to call it.
        ram: Bytes of its RAM.
    """
    thp = running_policy()

    def make() -> Target:
        from pagewalk.mm.machine import Machine

        machine = Machine(ram, thp=thp)
        return cast("Target", SimulatedProcess(machine, machine.mm()))

    return Model(make, name)


def running_policy() -> Policy:
    """When the running kernel gives anonymous memory huge pages; never, where it cannot."""
    try:
        text = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return "never"
    return cast("Policy", text.partition("[")[2].partition("]")[0])
