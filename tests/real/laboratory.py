"""A guest whose tables are edited: its doors, the threads that obey, and what its kernel has to say in the end."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pagewalk as pw
from tests.real import truth
from tests.real.boot import READY
from tests.real.obey import Control
from tests.real.truth import FRAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.real.boot import Guest
    from tests.real.obey import Answer

__all__ = ["COMPLAINT", "SOCKETS", "Laboratory", "faults"]

SOCKETS: Final = {"gdb": "gdb", "qmp": "qmp2"}
TRIES: Final = 50
COMPLAINT: Final = re.compile(
    r"BUG|Bad (?:page|rss|swap|pagetable)|page table|pgtables_bytes|rss-counter|WARNING|Oops|Call Trace|corrupt"
)
"""What a kernel logs that finds its tables, or its counts of them, not as it left them."""


class Laboratory:
    """A guest that stands still, but while a thread of it obeys.

    Args:
        vm: The guest, which runs the program ``edited``.
        folder: For journals.

    Attributes:
        hands: The page of commands of each thread; there is one a CPU.
        page: Bytes of a page.
        frames, holes, empty: Pages that are there and locked; of which every other one is there; of which none is.
    """

    def __init__(self, vm: Guest, folder: Path) -> None:
        self.vm, self._folder, self._journals = vm, folder, 0
        self._begin()

    def _begin(self) -> None:
        said = self.vm.truth
        vaddrs, words = said.pages()
        self._words = dict(zip(vaddrs.tolist(), words.tolist(), strict=True))
        self.page = said.page
        self.frames, self.holes, self.empty = (said.planted(name) for name in ("frames", "holes", "empty"))
        self.hands = [Control(self.vm, number) for number in range(self.vm.machine.cpus)]

    def again(self) -> None:
        """Go on with the program that the guest has started after the last one ended."""
        for hand in self.hands:
            hand.close()
        with self.vm.running():
            self._wait(lambda text: "\n@ ready" in text.rpartition("\n@ logged")[2])
        self.vm.truth = truth.parse(self._said().rpartition("\n@ logged")[2])
        self._begin()
        self.vm.registers = self._registers()

    def _registers(self) -> dict[str, int]:
        """The registers that say where the program's tables are: the guest runs until a CPU has them."""
        control = self.vm.truth.control
        for _ in range(TRIES):
            self.hands[0].faults()
            with pw.source(self.address("qmp")) as source:
                values = {name: source.cpus[0][name] for name in self.vm.registers}
                tables = source.tables(registers=values, os=self.vm.machine.os)
                paddrs, mapped = pw.translate(tables, [control])
                if mapped[0] and int(paddrs[0]) == self.frame(control):
                    return values
        raise TimeoutError(f"{self.vm.machine.name} never runs its program")

    def frame(self, vaddr: int) -> int:
        """The physical address of a page that the program said it has: of ``frames``, of commands."""
        return (self._words[vaddr] & FRAME) * self.page

    def address(self, door: str) -> str:
        """Where a door is."""
        return f"{door}:{self.vm.ram.with_name(SOCKETS[door])}"

    def journal(self) -> Path:
        """A new name for a journal."""
        self._journals += 1
        return self._folder / f"journal-{self._journals}"

    def roots(self) -> list[dict[str, int]]:
        """The registers that say where the program's tables are; under PTI, those that it has in its kernel as well."""
        values, isolation = self.vm.registers, self.vm.machine.architecture.isolation
        if isolation is None or isolation.shares_users or not self.vm.machine.isolated:
            return [values]
        return [values, values | {isolation.register: values[isolation.register] ^ isolation.program}]

    @contextmanager
    def change(self, door: str, *donated: int, registers: dict[str, int] | None = None) -> Iterator[pw.Change]:
        """A change by a door, for which some of ``frames`` may become tables.

        What is left by gdb runs, so it is stopped again.
        """
        with pw.source(self.address(door), writable=True) as source:
            tables = source.tables(registers=registers or self.vm.registers, os=self.vm.machine.os)
            ranges = [(self.frame(vaddr), self.frame(vaddr) + self.page) for vaddr in donated]
            yield pw.edit(tables, frames=ranges)
        self.vm.monitor.ask("stop")

    def kind(self, vaddr: int) -> pw.Kind:
        """What its memory says of a page."""
        rows = pw.mappings(self.vm.tables(), vaddr, vaddr + self.page)
        return pw.Kind(rows["kind"][0]) if len(rows) else pw.Kind.NONE

    def undo(self, *journals: Path) -> None:
        """Take changes back."""
        for journal in journals:
            pw.undo(journal)
        self.vm.monitor.ask("stop")

    def log(self) -> list[str]:
        """End the program, and say what its kernel has logged since it began."""
        before = self._said().count("\n@ logged")
        self.hands[0].end()
        with self.vm.running():
            self._wait(lambda text: text.count("\n@ logged") > before)
        *_, last = self._said().split("\n@ gone ")
        assert last.startswith("0\n"), last
        return re.findall(r"^@ log (.*)$", last, re.MULTILINE)

    def _said(self) -> str:
        return self.vm.console.read_text(errors="replace").replace("\r", "")

    def _wait(self, done: Callable[[str], bool]) -> None:
        """Wait for the console.

        Raises:
            TimeoutError: It does not come.
        """
        end = time.monotonic() + READY
        while not done(self._said()):
            if time.monotonic() > end:
                raise TimeoutError(f"{self.vm.machine.name} does not say it: {self._said()[-500:]}")
            time.sleep(0.02)


def faults(hand: Control, work: Callable[[], Answer]) -> tuple[Answer, int]:
    """What becomes of a command, and how many page faults the thread takes for it."""
    before = hand.faults()
    answer = work()
    return answer, hand.faults() - before
