"""The formats by name: a walker of a family, and what Linux adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from tests.reference.arm64 import Arm64
from tests.reference.linux import Arm64Linux, Linux, Meaning, RiscVLinux, X86Linux
from tests.reference.riscv import RiscV
from tests.reference.x86 import Hardware

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.reference.found import Read, Walker


class Rooted(Protocol):
    """What has a root."""

    @property
    def root(self) -> int: ...


class Family(NamedTuple):
    """How a walker is made, given a memory and a root, and the kernel's layer."""

    make: Callable[[Read, int], Walker]
    linux: Linux

    def walker(self, read: Read, window: Rooted) -> Walker:
        """The oracle of a window."""
        return self.make(read, window.root)

    def meaning(self, shift: int, raw: int) -> Meaning:
        """One entry of the level with this shift."""
        return self.linux.meaning(self.make(lambda _: None, 0), shift, raw)


FAMILIES = {
    "x86-64": Family(Hardware, X86Linux(12, 46 - 12)),  # MAX_PHYSMEM_BITS 46, and 52 with five levels
    "x86-64-la57": Family(lambda read, root: Hardware(read, root, 5), X86Linux(12, 52 - 12)),
    "arm64-4k": Family(lambda read, root: Arm64(read, root, 12, 48), Arm64Linux(12, 52 - 12)),
    "arm64-16k": Family(lambda read, root: Arm64(read, root, 14, 47), Arm64Linux(14, 52 - 14)),
    "arm64-4k-lpa2": Family(lambda read, root: Arm64(read, root, 12, 52, ds=True), Arm64Linux(12, 52 - 12)),
    "arm64-16k-lpa2": Family(lambda read, root: Arm64(read, root, 14, 52, ds=True), Arm64Linux(14, 52 - 14)),
    "riscv-sv39": Family(lambda read, root: RiscV(read, root, 3), RiscVLinux(12, 56 - 12)),
    "riscv-sv48": Family(lambda read, root: RiscV(read, root, 4), RiscVLinux(12, 56 - 12)),
    "riscv-sv57": Family(lambda read, root: RiscV(read, root, 5), RiscVLinux(12, 56 - 12)),
}
