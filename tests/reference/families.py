"""The formats by name: a walker of a family, and what Linux adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from tests.reference.arm64 import Arm64
from tests.reference.ia32 import Pae, TwoLevels
from tests.reference.linux import Arm64Linux, Bare, Linux, Meaning, PaeLinux, RiscVLinux, TwoLevelLinux, X86Linux
from tests.reference.riscv import RiscV, Sv32
from tests.reference.x86 import Hardware

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.reference.found import Read, Walker


class Window(Protocol):
    """A range of addresses, and what translates it."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def root(self) -> int: ...


class Family(NamedTuple):
    """How a walker is made, given a memory, a root and the width of a window; its own width; and the kernel's layer."""

    make: Callable[[Read, int, int], Walker]
    bits: int
    linux: Linux

    def walker(self, read: Read, window: Window) -> Walker:
        """The oracle of a window."""
        return self.make(read, window.root, (window.end - window.start).bit_length() - 1)

    def empty(self) -> Walker:
        """The oracle of no memory at all."""
        return self.make(lambda _: None, 0, self.bits)

    def meaning(self, shift: int, raw: int) -> Meaning:
        """One entry of the level with this shift."""
        return self.linux.meaning(self.empty(), shift, raw)


FAMILIES = {
    # MAX_PHYSMEM_BITS is 46, and 52 with five levels
    "x86-64": Family(lambda read, root, _: Hardware(read, root), 48, X86Linux(12, 46 - 12)),
    "x86-64-la57": Family(lambda read, root, _: Hardware(read, root, 5), 57, X86Linux(12, 52 - 12)),
    "ia32": Family(lambda read, root, _: TwoLevels(read, root), 32, TwoLevelLinux(12, 32 - 12)),
    "pae": Family(lambda read, root, _: Pae(read, root), 32, PaeLinux(12, 36 - 12)),
    "arm64-4k": Family(lambda read, root, bits: Arm64(read, root, 12, bits), 48, Arm64Linux(12, 52 - 12)),
    "arm64-16k": Family(lambda read, root, bits: Arm64(read, root, 14, bits), 47, Arm64Linux(14, 52 - 14)),
    "arm64-64k": Family(lambda read, root, bits: Arm64(read, root, 16, bits), 48, Arm64Linux(16, 52 - 16)),
    "arm64-4k-lpa2": Family(lambda *of: Arm64(of[0], of[1], 12, of[2], ds=True), 52, Arm64Linux(12, 52 - 12)),
    "arm64-16k-lpa2": Family(lambda *of: Arm64(of[0], of[1], 14, of[2], ds=True), 52, Arm64Linux(14, 52 - 14)),
    "arm64-64k-lpa": Family(lambda *of: Arm64(of[0], of[1], 16, of[2], lpa=True), 52, Arm64Linux(16, 52 - 16)),
    "riscv-sv39": Family(lambda read, root, _: RiscV(read, root, 3), 39, RiscVLinux(12, 56 - 12)),
    "riscv-sv48": Family(lambda read, root, _: RiscV(read, root, 4), 48, RiscVLinux(12, 56 - 12)),
    "riscv-sv57": Family(lambda read, root, _: RiscV(read, root, 5), 57, RiscVLinux(12, 56 - 12)),
    "riscv-sv32": Family(lambda read, root, _: Sv32(read, root), 32, Bare(12, 22)),
}
