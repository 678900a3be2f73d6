"""One process of a scenario: resolves symbolic addresses, takes steps, looks at itself. The same code on both sides."""

from __future__ import annotations

import signal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from pagewalk.conform.scenarios import ARENA, ARENA_PAGES, At, KernelWrite, Mmap, Mremap
from pagewalk.conform.scenarios.arena import Who
from pagewalk.conform.scenarios.names import PAGE
from pagewalk.conform.scenarios.target import FaultError, Outcome, pattern
from pagewalk.errors import BusError, SegmentationFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pagewalk.conform.scenarios import File, Step
    from pagewalk.conform.scenarios.target import Calls

__all__ = ["NO_PROCESS", "SAME_CHILD", "Actor", "Look", "Window", "make_files", "outcome_of"]

ELSEWHERE = "somewhere"
"""The base of an address that the kernel chose and the scenario did not name: all such are the same to a comparison."""
NO_PROCESS = Outcome(skipped="no such process")
SAME_CHILD = Outcome(skipped="a process of that number is alive")


class Window(NamedTuple):
    """A range that is looked at: the arena, called "", or a mapping whose place the kernel chose."""

    name: str
    start: int
    end: int


class Look(NamedTuple):
    """What one process shows of itself, undecoded: ``pages`` has pagemap and scan of each window, smaps the arena."""

    maps: str
    windows: tuple[Window, ...]
    pages: tuple[tuple[Any, Any], ...]
    smaps: Any


class _UnknownError(Exception):
    """A step names something that is not there, because the step that was to make it failed or was deleted."""


class Actor:
    """A target, and what the scenario's names mean to it.

    Args:
        target: The process.
        files: The scenario's files, by name.
        windows: Ranges that are looked at; the arena when not given.
        family: What stands for each process that is alive, by number.
    """

    def __init__(
        self,
        target: Calls,
        files: Mapping[str, Any],
        windows: Iterable[Window] = (),
        family: Mapping[int, Any] = MappingProxyType({}),
    ) -> None:
        self.target = target
        self._family = family
        self.files = files
        self.windows = list(windows) or [Window("", ARENA, ARENA + ARENA_PAGES * PAGE)]
        self._bases = {window.name: window.start for window in self.windows}

    def child(self, target: Calls) -> Actor:
        """The actor of a forked child."""
        child = Actor(target, self.files, self.windows, self._family)
        child._bases = dict(self._bases)
        return child

    def do(self, step: Step) -> Outcome:
        """Take a step that is neither ``Fork`` nor ``Exit``."""
        return outcome_of(lambda: self._value(step), self._symbol)

    def look(self) -> Look:
        """What the process shows now."""
        pages = tuple(self.target.pages(window.start, window.end) for window in self.windows)
        return Look(self.target.maps(), tuple(self.windows), pages, self.target.smaps(self.windows[0].end))

    def _value(self, step: Step) -> Any:
        value = step.invoke(self.target, self._resolve)
        if isinstance(step, Mmap | Mremap):
            self._note(value, step)
            return self._symbol(value)
        if isinstance(step, KernelWrite) and value is None:
            return len(step.data)
        return value if isinstance(value, int | bytes) else None

    def _note(self, addr: int, step: Mmap | Mremap) -> None:
        if not step.name:
            return
        self._bases[step.name] = addr
        if not self.windows[0].start <= addr < self.windows[0].end:
            length = step.length if isinstance(step, Mmap) else step.new_length
            self.windows = [window for window in self.windows if window.name != step.name]
            self.windows.append(Window(step.name, addr, addr + -(-length // PAGE) * PAGE))

    def _resolve(self, value: Any) -> Any:
        match value:
            case At(page, byte, base):
                return self._base(base) + page * PAGE + byte
            case Who(number):
                if number not in self._family:
                    raise _UnknownError(f"there is no process {number}")
                return self._family[number]
            case tuple():
                return tuple(self._resolve(item) for item in value)
            case str():
                return self._file(value)
        return value

    def _base(self, name: str) -> int:
        if name not in self._bases:
            raise _UnknownError(f"nothing is called {name!r}")
        return self._bases[name]

    def _file(self, name: str) -> Any:
        if name not in self.files:
            raise _UnknownError(f"no file is called {name!r}")
        return self.files[name]

    def _symbol(self, addr: int) -> At | int:
        for window in self.windows:
            if window.start <= addr < window.end:
                page, byte = divmod(addr - window.start, PAGE)
                return At(page, byte, window.name)
        return addr if addr < self.windows[0].start else At(0, addr % PAGE, ELSEWHERE)


def outcome_of(action: Callable[[], Any], symbol: Callable[[int], At | int]) -> Outcome:
    """Do something to a target, and say what came of it; an unexpected exception is trouble, not the end."""
    try:
        return Outcome(action())
    except _UnknownError as error:
        return Outcome(skipped=str(error))
    except Exception as error:
        return _failure(error, symbol)


def _failure(error: Exception, symbol: Callable[[int], At | int]) -> Outcome:
    match error:
        case FaultError():
            return Outcome(signo=error.signo, addr=symbol(error.vaddr), code=error.code)
        case SegmentationFault() | BusError():
            signo = signal.SIGBUS if isinstance(error, BusError) else signal.SIGSEGV
            return Outcome(signo=int(signo), addr=symbol(error.si_addr), code=error.code)
        case OSError() if error.errno:
            return Outcome(errno=error.errno)
    return Outcome(trouble=f"broke: {type(error).__name__}: {error}{_place(error)}")


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"


def make_files(target: Calls, files: Iterable[File]) -> dict[str, Any]:
    """The scenario's files, with their pattern, as the target makes them."""
    return {f.name: target.file(f.name, pattern(f.name, f.pages * PAGE), f.kind, writable=f.writable) for f in files}
