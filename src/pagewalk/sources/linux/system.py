"""Which Linux it is, as ``--os`` spells it: its version, and what of its configuration shows in page tables.

The version is in the kernel's release. Of the configuration, functions tell: a kernel's types say which it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pagewalk.formats import LINUX, SETTINGS, nearest
from pagewalk.sources.linux.btf import BtfError
from pagewalk.sources.linux.layout import Layout
from pagewalk.sources.linux.virtual import Unreadable
from pagewalk.sources.whose import reading, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.formats.os.linux import Version
    from pagewalk.sources.linux.btf import Btf
    from pagewalk.sources.linux.kernel import Kernel
    from pagewalk.sources.linux.virtual import Virtual

__all__ = ["System", "release_of", "system_of"]

_LONGEST: Final = 64
_FUNCTIONS: Final = {
    "device_private": (
        ((5, 14), ("make_device_exclusive", "make_device_exclusive_range")),  # mm/rmap.c
        ((4, 14), ("migrate_vma_setup", "migrate_vma")),  # mm/migrate.c
    ),
    "memory_failure": (((3, 10), ("memory_failure",)),),  # mm/memory-failure.c
    "migration": (((3, 10), ("migrate_pages",)),),  # mm/migrate.c
}
"""By setting, and from which version on: functions of which a kernel has one exactly if it has that."""


class System(NamedTuple):
    """Which Linux it is.

    Attributes:
        release: As ``uname -r`` has it.
        name: As ``--os`` spells it.
        note: How that was found out, in a sentence.
    """

    release: str
    name: str
    note: str


def release_of(kernel: Kernel, memory: Virtual) -> str:
    """The kernel's release: from VMCOREINFO, else from the names of its first task's namespace; empty: not known."""
    if kernel.said is not None:
        return kernel.said.release
    try:
        (proxy,) = Layout(kernel.btf, "task_struct", ("nsproxy",)).read(memory, kernel.idle.vaddr)
        (space,) = Layout(kernel.btf, "nsproxy", ("uts_ns",)).read(memory, proxy)
        field = kernel.btf.field("uts_namespace", "name.release")
        return "" if field is None else memory.text(space + field.offset, _LONGEST).decode("latin-1")
    except (BtfError, Unreadable):
        return ""


def system_of(kernel: Kernel, memory: Virtual) -> System:
    """The system, the nearest that is known where it is newer or older than those."""
    release = release_of(kernel, memory)
    wanted = version_of(release)
    if wanted is None:
        return System(release, LINUX.name, "which Linux it is, is not known: its entries are read as the newest one's")
    version = nearest(wanted)
    name = ",".join([f"linux-{version[0]}.{version[1]}", *_lacking(kernel.btf, version)])
    return System(release, name, reading(release, name))


def _lacking(btf: Btf, version: Version) -> Iterator[str]:
    """Options for what its configuration lacks."""
    if not btf.has_functions:
        return
    for name, by_version in _FUNCTIONS.items():
        functions = next((functions for since, functions in by_version if version >= since), ())
        if functions and SETTINGS[name].matters(version) and not any(map(btf.has_function, functions)):
            yield f"{name}=no"
