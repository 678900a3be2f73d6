"""What a file is, by its content: a table of the types that pagewalk knows, and of those that it knows by name only."""

from __future__ import annotations

import importlib
import stat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pagewalk.doors import shown
from pagewalk.errors import UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path

    from pagewalk.memory import Memory

__all__ = ["MACHINES", "RAW", "TYPES", "SourceType", "detect", "source_type"]


class SourceType(NamedTuple):
    """A type of source.

    Attributes:
        name: What ``--source-type`` calls it.
        what: What a message calls it: "an ELF core".
        magic, offset: What a file of it has where.
        load: The memory that opens it, ``module:class``; it takes the path. Empty: it is known by name only.
        remedy: What to do with one that is not opened.
        packing: What it is compressed by, of ``memory.unpacked.PACKINGS``: what counts is what is inside.
        files: What is in a directory of this type.
        several: Whether one may lie in several files.
        based: Whether it does not say at which address it begins.
        fixed: Whether it is never written.
    """

    name: str
    what: str
    magic: bytes = b""
    offset: int = 0
    load: str = ""
    remedy: str = ""
    packing: str = ""
    files: tuple[str, ...] = ()
    several: bool = False
    based: bool = False
    fixed: bool = False

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins like this is of this type."""
        return bool(self.magic) and head[self.offset : self.offset + len(self.magic)] == self.magic

    def open(self, path: Path | list[Path] | str, **options: Any) -> Memory:
        """The memory in a file of this type, or at an address.

        Raises:
            OSError: It cannot be opened.
            ImageFormatError: It is not what it claims to be.
            UnsupportedError: pagewalk knows this type by its name only.
        """
        if not self.load:
            raise UnsupportedError(f"{path}: {self.what} is not read: {self.remedy}")
        module, _, name = self.load.partition(":")
        memory: Memory = getattr(importlib.import_module(module), name)(path, **options)
        return memory


_VMWARE: Final = "a VMware state file", "open the .vmem file beside it, the memory as it is, and give --registers"
_VMWARE_MAGICS: Final = (b"\xd0\xbe\xd2\xbe", b"\xd1\xba\xd1\xba", b"\xd2\xbe\xd2\xbe", b"\xd3\xbe\xd3\xbe")
_DUMP: Final = "take a dump of the guest's memory (dump-guest-memory, virsh dump --memory-only)"
_WINDOWS: Final = "a Windows crash dump", "take a raw image, or convert it by a tool for crash dumps"
_KDUMP: Final = "pagewalk.memory.dumps.kdump:Kdump"
_FIRECRACKER: Final = "a Firecracker snapshot", "pagewalk.memory.dumps.firecracker:FirecrackerMemory"
_CLOUD: Final = "a cloud-hypervisor snapshot", "pagewalk.memory.dumps.cloud_hypervisor:CloudHypervisorSnapshot"
RAW: Final = SourceType("raw", "a raw memory image", load="pagewalk.memory.files.image:RawImage")
TYPES: Final = (
    SourceType("elf", "an ELF core", b"\x7fELF", load="pagewalk.memory.dumps.elf:open_core"),
    SourceType("kdump", "a kdump file", b"KDUMP   ", load=_KDUMP, several=True, fixed=True),
    SourceType("flattened", "a flattened makedumpfile dump", b"makedumpfile", load=_KDUMP, several=True, fixed=True),
    SourceType("lime", "a LiME image", b"EMiL", load="pagewalk.memory.dumps.lime:LimeImage"),
    SourceType("avml", "an AVML image", b"AVML\2\0\0\0", load="pagewalk.memory.dumps.avml:AvmlImage", fixed=True),
    SourceType("gz", "a gzip file", b"\x1f\x8b", packing="gz"),
    SourceType("xz", "an xz file", b"\xfd7zXZ\0", packing="xz"),
    SourceType("zst", "a zstd file", b"\x28\xb5\x2f\xfd", packing="zst"),
    SourceType("lz4", "an lz4 file", b"\x04\x22\x4d\x18", packing="lz4"),
    *(SourceType("vmware", _VMWARE[0], magic, remedy=_VMWARE[1]) for magic in _VMWARE_MAGICS),
    *(SourceType("windows", _WINDOWS[0], magic, remedy=_WINDOWS[1]) for magic in (b"PAGEDU64", b"PAGEDUMP")),
    SourceType("savevm", "a QEMU savevm stream", b"QEVM", remedy=f"load it, and {_DUMP}"),
    SourceType("libvirt", "a libvirt save file", b"LibvirtQemudSave", remedy=f"restore it, and {_DUMP}"),
    SourceType("qcow2", "a qcow2 disk", b"QFI\xfb", remedy=f"load a snapshot in it, and {_DUMP}"),
    SourceType(
        "virtualbox",
        "a VirtualBox saved state",
        b"\x7fVirtualBox SavedState",
        remedy="resume it, and take a core by VBoxManage debugvm NAME dumpvmcore --filename FILE",
    ),
    SourceType("firecracker", _FIRECRACKER[0], load=_FIRECRACKER[1], several=True, based=True, fixed=True),
    SourceType("cloud-hypervisor", _CLOUD[0], load=_CLOUD[1], files=("state.json", "memory-ranges"), fixed=True),
    RAW,
)
"""The types. A file is the first whose magic it has, a directory the first whose files it has; others are raw.

Nothing in a Firecracker snapshot says what it is: the user does.
"""
MACHINES: Final = (
    SourceType("qmp", "a running machine", load="pagewalk.memory.machines.qmp:open_qmp"),
    SourceType("gdb", "a running machine", load="pagewalk.memory.machines.gdb:open_gdb"),
)
"""What is opened by an address: the name, a colon, and where it is."""
_HEAD: Final = max(type_.offset + len(type_.magic) for type_ in TYPES)


def source_type(name: str) -> SourceType:
    """The type of a name.

    Raises:
        UnsupportedError: There is none.
    """
    for type_ in TYPES:
        if type_.name == name:
            return type_
    known = ", ".join(dict.fromkeys(type_.name for type_ in TYPES))
    raise UnsupportedError(f"no source type is called {shown(name)}: there are {known}")


def detect(path: Path) -> SourceType:
    """What a file is.

    Raises:
        OSError: It cannot be opened.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        return next((one for one in TYPES if one.files and all((path / file).is_file() for file in one.files)), RAW)
    if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
        return RAW  # it has no bytes: whoever opens it says so
    try:
        with path.open("rb", buffering=0) as file:
            head = file.read(_HEAD)
    except PermissionError as error:
        if path.name != "kcore":
            raise
        why = "only root may read it (CAP_SYS_RAWIO, and no lockdown)"
        raise PermissionError(error.errno, why, str(path)) from None
    return next((type_ for type_ in TYPES if type_.matches(head)), RAW)
