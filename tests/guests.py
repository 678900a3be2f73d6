"""Real guests' memory, and what their kernels said about it (see ``data/README.md``)."""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pagewalk.sources
from tests.reference import arm64, riscv, x86
from tests.reference.families import FAMILIES, Family

if TYPE_CHECKING:
    from pagewalk.tables import PageTables
    from tests.reference import Walker

DATA = Path(__file__).parent / "data"
FORMATS = {"x86_64-7.3-4level": "x86-64", "aarch64-7.2-4k-48": "arm64-4k", "riscv64-7.2-sv39": "riscv-sv39"}


@dataclass(frozen=True)
class Guest:
    """A guest's memory image, and the truth about it."""

    path: Path
    truth: dict[str, Any]

    @property
    def root(self) -> int:
        return int(self.truth["cr3"]) & -4096

    @property
    def registers(self) -> dict[str, int]:
        """The registers that say where its tables are, by the names that QEMU and gdb have for them."""
        names = {name: name for name in ("cr0", "cr3", "cr4", "efer", "satp")}
        names |= {name: f"{name}_el1" for name in ("ttbr0", "ttbr1", "tcr", "mair")}
        return {names[name]: value for name, value in self.truth.items() if name in names}

    @cached_property
    def pagemap(self) -> dict[int, int]:
        """Each page of each VMA, and its entry in /proc/PID/pagemap."""
        return {int(vaddr): entry for vaddr, entry in self.truth["pm"].items()}

    @cached_property
    def rights(self) -> dict[int, str]:
        """Each page of each VMA, and the rights in /proc/PID/maps."""
        rights = {}
        for line in self.truth["maps"]:
            where, what = line.split()[:2]
            start, end = (int(number, 16) for number in where.split("-"))
            rights.update(dict.fromkeys(range(start, end, 4096), what))
        return rights

    def region(self, name: str) -> range:
        """The pages of a region."""
        (found,) = (region for region in self.truth["regions"] if region[0] == name)
        return range(found[1], found[2], 4096)

    def tables(self) -> PageTables:
        return pagewalk.sources.open(self.path, root=self.root)

    @cached_property
    def ram(self) -> bytes:
        return self.path.read_bytes()

    def word(self, paddr: int) -> int | None:
        """A word of the guest's memory, None outside it."""
        at = paddr - self.truth["ram_base"]
        return int.from_bytes(self.ram[at : at + 8], "little") if 0 <= at <= len(self.ram) - 8 else None

    @property
    def family(self) -> Family:
        """The oracle of the guest's format."""
        return FAMILIES[FORMATS[self.truth["name"]]]

    @cached_property
    def windows(self) -> list[tuple[int, int, Walker]]:
        """The oracle's windows, lowest first, from the guest's registers."""
        truth = self.truth
        if "cr3" in truth:
            return x86.from_registers(self.word, truth["cr3"], truth["cr4"])
        if "satp" in truth:
            return riscv.from_registers(self.word, truth["satp"])
        return arm64.from_registers(self.word, truth["ttbr0"], truth["ttbr1"], truth["tcr"])


def unpack(name: str, folder: Path) -> Guest:
    """A guest of ``data/``, its image unpacked into a folder."""
    path = folder / f"{name}.ram"
    path.write_bytes(lzma.decompress((DATA / f"{name}.ram.xz").read_bytes()))
    return Guest(path, json.loads(lzma.decompress((DATA / f"{name}.truth.json.xz").read_bytes())))
