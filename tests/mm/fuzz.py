"""Random sequences of system calls on a machine whose memory fails when told to."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pagewalk.conform.scenarios import Scenario
from pagewalk.conform.sides.model import SimulatedProcess
from pagewalk.conform.sides.side import Model
from pagewalk.errors import OutOfFrames
from pagewalk.mm.hardware.frames import Usage
from tests.mm.ledger import balance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pagewalk.conform.scenarios.target import Outcome
    from pagewalk.mm import File, Machine, Mm

__all__ = ["Process", "Tank", "counted", "failing", "play"]


TAKES = ("take_many", "take_block", "take_run")


@contextmanager
def failing(
    machine: Machine, refuse: Callable[[], bool], error: Callable[[str], BaseException] = OutOfFrames
) -> Iterator[None]:
    """Ask before each allocation of frames whether it is to fail, with which error."""
    for name in TAKES:
        setattr(machine.frames, name, _refusing(getattr(machine.frames, name), refuse, error))
    try:
        yield
    finally:
        for name in TAKES:
            delattr(machine.frames, name)


def _refusing(
    take: Callable[..., Any], refuse: Callable[[], bool], error: Callable[[str], BaseException]
) -> Callable[..., Any]:
    def take_or_fail(*args: Any, **options: Any) -> Any:
        if refuse():
            raise error("this allocation is to fail")
        return take(*args, **options)

    return take_or_fail


class Tank:
    """A machine, and everything alive on it.

    Args:
        machine: The machine; its use at this moment is the level to come back to.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.before = machine.usage()
        self.mms: list[Mm] = []
        self.files: list[File] = []

    def mm(self) -> Mm:
        """A new process."""
        self.mms.append(self.machine.mm())
        return self.mms[-1]

    def fork(self, mm: Mm) -> Mm:
        """The child of one."""
        self.mms.append(mm.fork())
        return self.mms[-1]

    def exit(self, mm: Mm) -> None:
        """End one."""
        self.mms.remove(mm)
        mm.exit()

    def file(self, *args: Any, **options: Any) -> File:
        """A new file."""
        self.files.append(self.machine.file(*args, **options))
        return self.files[-1]

    def _lost(self) -> dict[str, int]:
        """What is used otherwise than at first, since memory broke: it is gone, and so are pages of the pools."""
        machine, page = self.machine, self.machine.geometry.page_size
        pools = sum(size * len(pages) for size, pages in machine.pools.items())
        lost = {
            usage.name.lower(): machine.frames.count(usage) * page for usage in (Usage.POISONED, Usage.POISONED_FILE)
        }
        zero = int(machine.frames.poisoned(machine.zero)[0])
        assert sum(lost.values()) == (machine.frames.lost - zero) * page
        free = self.before["free"] + self.before["hugetlb"] - pools - sum(lost.values())
        return lost | {"hugetlb": pools, "free": free}

    def check(self) -> None:
        """The books balance."""
        balance(self.machine, self.mms, self.files)

    def empty(self) -> None:
        """End every process, drop every file, and see that nothing is left over."""
        for mm in list(self.mms):
            self.exit(mm)
        for file in self.files:
            file.writable = True  # whoever opens it so may
            file.seals = 0
            self.machine.truncate(file, 0)
        self.files = []
        self.check()
        assert self.machine.usage() == self.before | self._lost()
        assert not self.machine.swap.used
        assert not any(self.machine._promised.values())


class Process(SimulatedProcess):
    """A process that the tank knows of."""

    def __init__(self, tank: Tank, mm: Mm) -> None:
        super().__init__(tank.machine, mm)
        self.tank = tank
        self.mm = mm
        tank.mms.append(mm)

    def fork(self) -> Process:
        return Process(self.tank, self.mm.fork())

    def exit(self) -> None:
        self.tank.exit(self.mm)

    def file(self, *args: Any, **options: Any) -> File:
        file = super().file(*args, **options)
        self.tank.files.append(file)
        return file


def play(
    tank: Tank,
    scenario: Scenario,
    *,
    after_step: Callable[[], None] = lambda: None,
    refuse: Callable[[], bool] = lambda: False,
) -> list[Outcome]:
    """Take a scenario's steps on a new process; its files and processes stay in the tank.

    A step may fail as a system call or an access does, and in no other way.
    """
    run = Model(lambda: Process(tank, tank.machine.mm())).run(Scenario((), scenario.files))
    outcomes = []
    with failing(tank.machine, refuse):
        for step in scenario.steps:
            outcomes += run.finish([step])
            assert not outcomes[-1].trouble, (step, outcomes[-1])
            after_step()
    return outcomes


def counted(fail_at: Iterable[int]) -> Callable[[], bool]:
    """Say yes at these calls, counted from 1."""
    wanted, calls = set(fail_at), 0

    def refuse() -> bool:
        nonlocal calls
        calls += 1
        return calls in wanted

    return refuse
