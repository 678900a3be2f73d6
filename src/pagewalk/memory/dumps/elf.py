"""ELF cores: what QEMU, KubeVirt, cloud-hypervisor, kdump kernels (``/proc/vmcore``) and ``/proc/kcore`` give."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pagewalk.memory.dumps.dump import MappedDump
from pagewalk.memory.dumps.elf_headers import core_of

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from pagewalk.memory.files.layout import Claim
    from pagewalk.memory.protocol import Memory

__all__ = ["ElfCore", "open_core"]


class ElfCore(MappedDump):
    """An ELF core, whoever made it: the bytes that its PT_LOAD headers name, used in place.

    See ``MappedDump`` for the arguments, errors and attributes.

    Attributes:
        machine: What it is of, as its header says.
    """

    machine: str = ""

    def _claims(self, data: memoryview) -> Sequence[Claim]:
        core = core_of(lambda offset, size: data[offset : offset + size])
        self.machine = core.machine
        self.cpus, self.vmcoreinfo, self.missing = core.notes.cpus, core.notes.vmcoreinfo, core.missing
        return core.claims


def open_core(path: str | os.PathLike[str], *, writable: bool = False) -> Memory:
    """An ELF core: a file, mapped; a live one, read.

    Raises:
        OSError, ImageFormatError, UnsupportedError: As ``ElfCore`` and ``LiveCore``.
    """
    from pagewalk.memory.dumps.kcore import LiveCore, is_live

    return LiveCore(path, writable=writable) if is_live(Path(path)) else ElfCore(path, writable=writable)
