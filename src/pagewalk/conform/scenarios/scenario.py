"""A scenario as data: files, and steps at symbolic addresses, so that two sides can be asked the very same thing.

How it works: addresses are pages of an *arena*, a fixed range that is empty at the start on both sides. A mapping whose
place the kernel chooses gets a ``name``; later steps say ``At(page, base=name)``. A step is a frozen dataclass with a
``repr`` to paste into a test; ``to_json`` and ``from_json`` round-trip.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from pagewalk.abi import MAP_ANONYMOUS, MAP_PRIVATE
from pagewalk.conform.names import PAGE, advice_text, flags_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.conform.target import Calls

__all__ = [
    "ARENA", "ARENA_PAGES", "STEPS", "At", "Execute", "Exit", "File", "Fork", "KernelRead", "KernelWrite", "Madvise",
    "Mincore", "Mlock", "Mmap", "Mprotect", "Mremap", "Msync", "Munlock", "Munmap", "ProcessMadvise", "PunchHole",
    "Read", "Scenario", "Step", "Truncate", "Write",
]  # fmt: skip

ARENA = 0x10_0000_0000
ARENA_PAGES = 32 << 20 >> 12


@dataclass(frozen=True, slots=True)
class At:
    """An address: a page of the arena, or of the mapping called ``base``, and a byte in it."""

    page: int
    byte: int = 0
    base: str = ""

    def __repr__(self) -> str:
        byte = f", {self.byte:#x}" if self.byte else ""
        return f"At({self.page}{byte}{f', base={self.base!r}' if self.base else ''})"


Where: TypeAlias = At | int


def _shown(prefix: str, **how: Any) -> Any:
    """A field whose number ``repr`` shows by the names that begin with ``prefix``."""
    return field(metadata={"prefix": prefix}, **how)


@dataclass(frozen=True, slots=True, repr=False)
class Step:
    """One system call or access, by one of the processes.

    Attributes:
        process: Who: 0 is the first, others are those a ``Fork`` named.
    """

    call: ClassVar[str]
    process: int = field(default=0, kw_only=True)

    def __repr__(self) -> str:
        shown = []
        for f in sorted(fields(self), key=lambda f: bool(f.kw_only)):
            value = getattr(self, f.name)
            if f.default is not MISSING and value == f.default:
                continue
            text = _text(value, f.metadata.get("prefix"))
            shown.append(text if f.default is MISSING and not f.kw_only else f"{f.name}={text}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def invoke(self, target: Calls, resolve: Callable[[Any], Any]) -> Any:
        """Take the step; ``resolve`` turns symbolic addresses and file names into real ones."""
        values = (resolve(getattr(self, f.name)) for f in fields(self) if f.name not in ("process", "name"))
        return getattr(target, self.call)(*values)


def _text(value: Any, prefix: str | None) -> str:
    if prefix is not None:
        return (advice_text if prefix == "MADV_" else flags_text)(prefix, value)
    return hex(value) if isinstance(value, int) and value >= PAGE else repr(value)


@dataclass(frozen=True, slots=True, repr=False)
class Mmap(Step):
    """``mmap``; ``name`` is what later steps call a place that the kernel chose.

    Such a mapping must not be unmapped or moved: its place would be taken by the process that runs the scenario.
    """

    call = "mmap"
    length: int
    prot: int = _shown("PROT_")
    flags: int = _shown("MAP_", default=MAP_PRIVATE | MAP_ANONYMOUS)
    addr: Where = 0
    file: str = ""
    offset: int = 0
    name: str = ""

    def invoke(self, target: Calls, resolve: Callable[[Any], Any]) -> Any:
        """See ``Step``."""
        addr, file = resolve(self.addr), resolve(self.file) if self.file else None
        return target.mmap(self.length, self.prot, self.flags, addr=addr, file=file, offset=self.offset)


@dataclass(frozen=True, slots=True, repr=False)
class Munmap(Step):
    """``munmap``."""

    call = "munmap"
    addr: Where
    length: int


@dataclass(frozen=True, slots=True, repr=False)
class Mprotect(Step):
    """``mprotect``."""

    call = "mprotect"
    addr: Where
    length: int
    prot: int = _shown("PROT_")


@dataclass(frozen=True, slots=True, repr=False)
class Mremap(Step):
    """``mremap``; ``name`` as in ``Mmap``."""

    call = "mremap"
    addr: Where
    old_length: int
    new_length: int
    flags: int = _shown("MREMAP_", default=0)
    new_addr: Where = 0
    name: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Mlock(Step):
    """``mlock2``."""

    call = "mlock"
    addr: Where
    length: int
    flags: int = _shown("MLOCK_", default=0)


@dataclass(frozen=True, slots=True, repr=False)
class Munlock(Step):
    """``munlock``."""

    call = "munlock"
    addr: Where
    length: int


@dataclass(frozen=True, slots=True, repr=False)
class Msync(Step):
    """``msync``."""

    call = "msync"
    addr: Where
    length: int
    flags: int = _shown("MS_")


@dataclass(frozen=True, slots=True, repr=False)
class Mincore(Step):
    """``mincore``."""

    call = "mincore"
    addr: Where
    length: int


@dataclass(frozen=True, slots=True, repr=False)
class Madvise(Step):
    """``madvise``."""

    call = "madvise"
    addr: Where
    length: int
    advice: int = _shown("MADV_")


@dataclass(frozen=True, slots=True, repr=False)
class ProcessMadvise(Step):
    """``process_madvise`` on oneself; ``ranges`` are (address, length)."""

    call = "process_madvise"
    ranges: tuple[tuple[Where, int], ...]
    advice: int = _shown("MADV_")


@dataclass(frozen=True, slots=True, repr=False)
class Fork(Step):
    """``fork``; later steps call the child ``child``."""

    call = "fork"
    child: int


@dataclass(frozen=True, slots=True, repr=False)
class Exit(Step):
    """``exit``."""

    call = "exit"


@dataclass(frozen=True, slots=True, repr=False)
class Read(Step):
    """A read by the CPU."""

    call = "read"
    addr: Where
    size: int = 8


@dataclass(frozen=True, slots=True, repr=False)
class Write(Step):
    """A write by the CPU."""

    call = "write"
    addr: Where
    data: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Execute(Step):
    """One instruction fetched by the CPU. What is there must begin with a 0 byte or 0xC3 (``ret``): it really runs."""

    call = "execute"
    addr: Where


@dataclass(frozen=True, slots=True, repr=False)
class KernelRead(Step):
    """A read by the kernel: ``process_vm_readv`` on oneself."""

    call = "kernel_read"
    addr: Where
    size: int = 8


@dataclass(frozen=True, slots=True, repr=False)
class KernelWrite(Step):
    """A write by the kernel: ``process_vm_writev`` on oneself."""

    call = "kernel_write"
    addr: Where
    data: bytes


@dataclass(frozen=True, slots=True, repr=False)
class PunchHole(Step):
    """``fallocate`` with PUNCH_HOLE and KEEP_SIZE, in bytes."""

    call = "punch_hole"
    file: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True, repr=False)
class Truncate(Step):
    """``ftruncate``, to a size in bytes."""

    call = "truncate"
    file: str
    size: int


STEPS: dict[str, type[Step]] = {cls.__name__: cls for cls in Step.__subclasses__()}


@dataclass(frozen=True, slots=True)
class File:
    """A file made before the first step.

    Attributes:
        name: As ``maps`` shows it, less the folder.
        pages: Pages of ``pattern(name)``.
        kind: memfd, which is shared memory, or disk, a real file.
        writable: Whether it is open for writing, not only for reading.
    """

    name: str
    pages: int
    kind: str = "memfd"
    writable: bool = True


@dataclass(frozen=True, slots=True)
class Scenario:
    """Files and steps."""

    steps: tuple[Step, ...]
    files: tuple[File, ...] = ()

    def __repr__(self) -> str:
        files = "".join(f"\n        {file!r}," for file in self.files)
        steps = "".join(f"\n        {step!r}," for step in self.steps)
        return f"Scenario(\n    steps=({steps}\n    ),\n    files=({files}\n    ),\n)"

    def to_json(self) -> str:
        """As text that ``from_json`` reads."""
        files = [[f.name, f.pages, f.kind, f.writable] for f in self.files]
        return json.dumps({"files": files, "steps": [_plain_step(step) for step in self.steps]})

    @classmethod
    def from_json(cls, text: str) -> Scenario:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError, KeyError, TypeError: It is not that.
        """
        plain = json.loads(text)
        files = tuple(File(*file) for file in plain["files"])
        return cls(tuple(_step(step) for step in plain["steps"]), files)


def _plain_step(step: Step) -> dict[str, Any]:
    changed = {f.name: getattr(step, f.name) for f in fields(step) if getattr(step, f.name) != f.default}
    return {"step": type(step).__name__} | {name: _plain(value) for name, value in changed.items()}


def _step(plain: dict[str, Any]) -> Step:
    values = {name: _value(value) for name, value in plain.items() if name != "step"}
    return STEPS[plain["step"]](**values)


def _plain(value: Any) -> Any:
    match value:
        case At():
            return {"at": [value.page, value.byte, value.base]}
        case bytes():
            return {"hex": value.hex()}
        case tuple():
            return [_plain(item) for item in value]
    return value


def _value(plain: Any) -> Any:
    match plain:
        case {"at": [page, byte, base]}:
            return At(page, byte, base)
        case {"hex": text}:
            return bytes.fromhex(text)
        case list():
            return tuple(_value(item) for item in plain)
    return plain
