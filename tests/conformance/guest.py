"""Asks a QEMU guest instead of the running kernel: boots one, with Debian's Python in it, and runs a module there.

    python -m tests.conformance.guest --kernel vmlinuz --cpu max,la57=off -- tests.conformance.record answers.json

How it works: Debian's packages of Python and of what the module needs, unpacked, ``src`` and ``tests`` become the
guest's only file system, an initramfs; nothing else of this machine is in it. PID 1 is this file again: it mounts what
is needed, runs the module with its arguments, and powers off. What the module writes into its last argument, a file,
is sent over the second serial line.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import runpy
import subprocess
import sys
import tempfile
import termios
import traceback
import tty
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SYSTEM = ("trixie", "amd64", "python3", "python3-numpy", "python3-lazy-loader")
"""A suite, and the packages of it that are unpacked with all that they depend on."""
PYTHON = "/usr/bin/python3"
LOADER = Path("/lib64/ld-linux-x86-64.so.2")
LIBRARIES = "/usr/lib/x86_64-linux-gnu/blas:/usr/lib/x86_64-linux-gnu/lapack"
"""Folders to which an installation makes links, from where libraries are looked for."""
LEFT_OUT = {"test", "tests", "__pycache__", "share", "include", "idlelib", "ensurepip", "perl5", "perl-base", "gconv"}
MOUNTS = ("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")
POWER_OFF = 0x4321FEDC


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kernel", type=Path, required=True, help="its vmlinuz")
    parser.add_argument("--cpu", default="max", help="as QEMU has it")
    parser.add_argument("--memory", default="1536", help="MiB of it")
    parser.add_argument("--append", default="", help="words for the kernel's command line")
    parser.add_argument("module", nargs="+", help="a module, its arguments, and last a file that it writes")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        initrd = Path(folder) / "initrd"
        with initrd.open("wb") as file:
            write_archive(file, dict(contents()))
        boot(wanted.kernel, initrd, wanted.cpu, wanted.memory, wanted.append, wanted.module)


def boot(kernel: Path, initrd: Path, cpu: str, memory: str, append: str, module: list[str]) -> None:
    """Run a guest to its end; the file that the module writes there is written here."""
    init = f"LD_LIBRARY_PATH={LIBRARIES} rdinit={PYTHON} -- {Path(__file__)} {' '.join(module)}"
    command = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "qemu-system-x86_64",
        "-accel",
        "tcg",
        "-cpu",
        cpu,
        "-m",
        memory,
        "-machine",
        "q35",
        "-nodefaults",
    ]
    command += ["-display", "none", "-no-reboot", "-kernel", str(kernel), "-initrd", str(initrd)]
    command += ["-append", f"console=ttyS0 quiet panic=-1 transparent_hugepage=madvise {append} {init}"]
    subprocess.run([*command, "-serial", "stdio", "-serial", f"file:{module[-1]}"], check=True)


def is_inside() -> bool:
    """Whether this is such a guest: whether its PID 1 is this file."""
    return str(Path(__file__)).encode() in Path("/proc/1/cmdline").read_bytes().split(b"\0")


def contents() -> Iterator[tuple[Path, Path]]:
    """The files that a guest needs: where they are there, and here."""
    from tests.real.packages import fetch_system

    system = fetch_system(*SYSTEM)
    yield LOADER, system / "usr" / LOADER.relative_to("/")
    for path in files_of(system / "usr"):
        if path.resolve().is_relative_to(system):  # links that an installation would lead elsewhere
            yield Path("/") / path.relative_to(system), path
    for top in (ROOT / "src", ROOT / "tests"):
        yield from ((path, path) for path in files_of(top))


def files_of(top: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in LEFT_OUT or Path(folder) == ROOT]
        yield from (Path(folder) / name for name in names)


def write_archive(file: IO[bytes], paths: dict[Path, Path]) -> None:
    """An archive in cpio's "newc" format: symbolic links become what they lead to."""
    folders = (
        {parent for path in paths for parent in path.parents} | {Path(mount) for _, mount in MOUNTS} | {Path("/tmp")}
    )
    for folder in sorted(folders):
        file.write(member(str(folder), 0o040755, b""))
    for path, here in sorted(paths.items()):
        if here.is_file():
            file.write(member(str(path), 0o100755, here.read_bytes()))
    file.write(member("TRAILER!!!", 0, b""))


def member(name: str, mode: int, data: bytes) -> bytes:
    encoded = name.strip("/").encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def init() -> None:
    """PID 1 of a guest."""
    libc = ctypes.CDLL(None, use_errno=True)
    for kind, place in MOUNTS:
        libc.mount(kind.encode(), place.encode(), kind.encode(), 0, None)
    console = os.open("/dev/console", os.O_RDWR)
    for fd in range(3):
        os.dup2(console, fd)
    try:
        run_inside(sys.argv[1:])
    except BaseException:
        traceback.print_exc()
    os.sync()
    libc.reboot(POWER_OFF)


def run_inside(module: list[str]) -> None:
    Path(module[-1]).parent.mkdir(parents=True, exist_ok=True)
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]
    os.environ["PYTHONPATH"] = f"{ROOT}:{ROOT / 'src'}"
    sys.argv = module
    pid = os.fork()
    if not pid:
        runpy.run_module(module[0], run_name="__main__")
        os._exit(0)
    while os.wait()[0] != pid:
        pass
    with Path("/dev/ttyS1").open("wb") as line:
        tty.setraw(line.fileno())
        line.write(Path(module[-1]).read_bytes())
        line.flush()
        termios.tcdrain(line.fileno())


if __name__ == "__main__":
    init() if os.getpid() == 1 else main()
