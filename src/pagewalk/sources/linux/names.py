"""Names of files, as ``/proc/PID/maps`` shows them: from a file to its directory entry, and up to the root.

Names are given as the mounts have them, from the root of all on: a process in a root of its own sees less.

Source: ``fs/d_path.c``, ``include/linux/dcache.h``, ``fs/mount.h``, Linux 5.10 to 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pagewalk.sources.linux.layout import Layout, offset_of
from pagewalk.sources.linux.virtual import Unreadable

if TYPE_CHECKING:
    from pagewalk.sources.linux.btf import Btf
    from pagewalk.sources.linux.virtual import Virtual

__all__ = ["Names"]

_DEEPEST: Final = 256
"""Parts of a name."""
_LONGEST: Final = 255
"""Bytes of a part (NAME_MAX)."""
_DELETED: Final = b" (deleted)"


class Names:
    """The names of a kernel's files, each worked out once.

    Args:
        btf: The kernel's types.
        memory: Its memory.

    Raises:
        BtfError: The types lack what is needed.
    """

    def __init__(self, btf: Btf, memory: Virtual) -> None:
        self._memory = memory
        self._file = Layout(btf, "file", ("f_path.dentry|__f_path.dentry", "f_path.mnt|__f_path.mnt"))
        entry = ("d_parent", "d_hash.pprev", "d_name.name|__d_name.name", "d_name.len|__d_name.len")
        self._entry = Layout(btf, "dentry", entry)
        self._mount = Layout(btf, "mount", ("mnt_parent", "mnt_mountpoint"))
        self._root = Layout(btf, "vfsmount", ("mnt_root",))
        self._inner = offset_of(btf, "mount", "mnt")
        self._known: dict[tuple[int, int], bytes] = {}

    def of(self, file: int) -> bytes:
        """The name of a file.

        Args:
            file: The address of its ``struct file``.

        Raises:
            Unreadable: Something on the way is not there, or the way is longer than can be.
        """
        entry, mount = self._file.read(self._memory, file)
        key = entry, mount
        if key not in self._known:
            self._known[key] = self._path(entry, mount)
        return self._known[key]

    def _path(self, entry: int, mount: int) -> bytes:
        """The name of what is at a directory entry of a mount."""
        (root,) = self._root.read(self._memory, mount)
        parent, hashed, _, _ = self._entry.read(self._memory, entry)
        if parent == entry != root:  # of no directory: shared memory, a memfd
            return b"/" + self._part(entry) + _DELETED
        name = self._climbed(entry, mount, root)
        return name if hashed or entry == root else name + _DELETED

    def _climbed(self, entry: int, mount: int, root: int) -> bytes:
        """The way from the root of all down to a directory entry."""
        parts: list[bytes] = []
        for _ in range(_DEEPEST):
            if entry != root:
                parent, *_ = self._entry.read(self._memory, entry)
                if parent == entry:
                    return b"/" + b"/".join(reversed(parts))
                parts.append(self._part(entry))
                entry = parent
                continue
            above, point = self._mount.read(self._memory, mount - self._inner)
            if above == mount - self._inner:
                return b"/" + b"/".join(reversed(parts))
            mount, entry = above + self._inner, point
            (root,) = self._root.read(self._memory, mount)
        raise Unreadable(f"{entry:#x}: a name of more than {_DEEPEST} parts")

    def _part(self, entry: int) -> bytes:
        """The name of a directory entry alone."""
        _, _, text, size = self._entry.read(self._memory, entry)
        if size > _LONGEST:
            raise Unreadable(f"{entry:#x}: a name of {size:#x} bytes")
        return self._memory.read(text, size)
