"""makedumpfile, the machine's own and a newer one of Debian's, and what it takes: QEMU's ELF core, laid out anew."""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING, Final

from tests.real.packages import NotToBeHad, fetch_system

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NEWER", "makedumpfile", "relaid"]

SECONDS: Final = 120
NEWER: Final = "trixie"
"""A suite whose makedumpfile has zstd; that of Debian 12 has not."""


def relaid(core: Path, path: Path) -> Path:
    """A core with its program headers right behind the ELF header, where makedumpfile looks for them.

    QEMU 7.2 has section headers there; nothing in a core needs them.
    """
    shutil.copyfile(core, path)
    with path.open("r+b") as file:
        head = bytearray(file.read(64))
        (where,), (count,) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<H", head, 56)
        file.seek(where)
        programs = file.read(56 * count)
        struct.pack_into("<QQ", head, 32, 64, 0)
        struct.pack_into("<HHH", head, 58, 0, 0, 0)
        file.seek(0)
        file.write(head + programs)
    return path


def makedumpfile(*words: str, suite: str = "") -> bytes:
    """Run it; what it writes on its standard output.

    Raises:
        NotToBeHad: It is not here.
    """
    command = _newer(suite) if suite else [shutil.which("makedumpfile") or ""]
    if not command[0]:
        raise NotToBeHad("makedumpfile is not here")
    done = subprocess.run([*command, *words], capture_output=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout


def _newer(suite: str) -> list[str]:
    """The words that start a suite's own, with the libraries it is built for; unpacked, never installed."""
    folder = fetch_system(suite, "amd64", "makedumpfile")
    loader = folder / "usr/lib64/ld-linux-x86-64.so.2"
    libraries, program = folder / "usr/lib/x86_64-linux-gnu", folder / "usr/bin/makedumpfile"
    return [str(loader), "--library-path", str(libraries), str(program)]
