"""The guest's root: a program, that of ``init/`` or another, and modules."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.real.packages import NotToBeHad, alone, cache

if TYPE_CHECKING:
    from tests.real.architectures import Architecture

__all__ = ["build"]

SOURCES: Final = Path(__file__).parent
FLAGS: Final = ("-O1", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-static", "-D_FILE_OFFSET_BITS=64")
SECONDS: Final = 120


def build(architecture: Architecture, program: str, modules: list[Path], path: Path) -> None:
    """Write an initramfs: a cpio archive with a program, whose sources are in the folder of its name, as ``/init``.

    Raises:
        NotToBeHad: There is no compiler or no cpio.
    """
    made = _compiled(architecture, program)
    root = path.with_suffix(".root")
    for folder in ("dev", "proc", "sys", "tmp"):
        (root / folder).mkdir(parents=True)
    shutil.copy(made, root / "init")
    for module in modules:
        shutil.copy(module, root)
    names = "\n".join(sorted(str(one.relative_to(root)) for one in root.rglob("*")))
    with path.open("wb") as archive:
        _run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], input=names.encode(), cwd=root, stdout=archive)


def _compiled(architecture: Architecture, name: str) -> Path:
    """A program, built once for each state of its sources."""
    folder = SOURCES / name
    sources = sorted(folder.glob("*.c"))
    text = b"".join(path.read_bytes() for path in sorted(folder.iterdir())) + repr((architecture, FLAGS)).encode()
    program = cache() / f"{name}-{hashlib.sha256(text).hexdigest()[:16]}"
    with alone():
        if not program.exists():
            unfinished = program.with_suffix(".new")
            _run([architecture.compiler, *FLAGS, "-o", str(unfinished), *map(str, sources)])
            unfinished.rename(program)
    return program


def _run(words: list[str], **how: object) -> None:
    """Run a tool.

    Raises:
        NotToBeHad: It is not here.
    """
    if shutil.which(words[0]) is None:
        raise NotToBeHad(f"{words[0]} is not here")
    subprocess.run(words, check=True, timeout=SECONDS, **how)  # type: ignore[call-overload]
