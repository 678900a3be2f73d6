"""``python -m benchmarks.roots [--few] [GUEST...]``: roots found in a guest's memory, beside what others do.

The guests are those of ``tests/real/test_roots.py``: 512 MiB with 26 processes, dead ones, and 96 MiB of noise, half of
it planted fakes. With ``--few`` they have 1 GiB, 300 MiB of noise, and a quarter of that are fakes. Everything is CPU
time for a GiB, the best of some rounds, with the file in the page cache. volatility3 and pakunoda answer another
question: both find the kernel's own root alone, by its symbols.

* ``read``: the file read once through a buffer.
* ``pagewalk roots``: the file opened, all roots in all formats; ``open already``: the same when
  its pages are mapped; ``its format``: opened, that one format alone.
* ``pakunoda``: the kernel's root by VMCOREINFO and a walk that proves it.
* ``volatility3``: its stacker for Linux, from the banner to the layer; it is given symbols, which pakunoda makes of the
  same memory (``symbols``). It has x86 alone, and of 32 bits there are no symbols: those kernels have no BTF.
"""

from __future__ import annotations

import importlib
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pagewalk as pw
from benchmarks.report import machine
from pagewalk.sources.finding.find import find, searchable
from tests.memory.cores import lime
from tests.real.boot import booted
from tests.real.machines import CROWDS, fewer_fakes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.real.boot import Guest

GUESTS = ("x86_64-6.1-pti", "x86_64-7.3-la57", "arm64-4k", "riscv64-sv48", "i386-6.1-pae", "arm64-4k-lpa2")
ROUNDS = 5
_BUFFER = 2 << 20
_PAKUNODA = {"x86_64": "x86_64", "i386": "x86_32", "arm64": "aarch64"}
"""What pakunoda calls the architectures that it finds the root of."""


def best(job: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, Any]:
    """CPU seconds of the best round, and what the job gave."""
    least = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        answer = job()
        least = min(least, time.process_time() - start)
    return least, answer


def read(path: Path) -> None:
    """Read a file once."""
    buffer = bytearray(_BUFFER)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def by_pagewalk(guest: Guest, formats: tuple[str, ...] | None) -> Any:
    """All roots, the file opened anew."""
    base = guest.machine.architecture.base
    with pw.source(guest.ram, base=base, source_type="raw") as source:
        return source.roots(formats=formats)


def open_already(guest: Guest) -> float:
    """CPU seconds of all roots in a source whose pages are mapped."""
    with pw.source(guest.ram, base=guest.machine.architecture.base, source_type="raw") as source:
        forms = searchable(None, None)
        find(source.memory, forms)
        return best(lambda: find(source.memory, forms))[0]


def by_pakunoda(path: Path, architecture: str) -> tuple[int, str]:
    """The kernel's root by VMCOREINFO, and whether it is proved; 0: not found."""
    probes: Any = importlib.import_module("pakunoda.probes")
    with probes.open_dump(path) as dump:
        found = probes.find_page_table_root(dump, architecture)
    return (0, "") if found is None else (int(found.pgd_phys), "" if found.verified else ", not proved")


def told_where(guest: Guest, folder: Path) -> Path:
    """A guest's memory as those take it that have no way to be told where it begins: as LiME has it."""
    base = guest.machine.architecture.base
    if not base:
        return guest.ram
    (folder / "guest.lime").write_bytes(lime([(base, guest.ram.read_bytes())]))
    return folder / "guest.lime"


def symbols(path: Path, folder: Path) -> float:
    """Have pakunoda make symbols of a memory: CPU seconds."""
    words = [sys.executable, "-m", "pakunoda", "extract", str(path), "-o", str(folder / "guest.isf.json")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def volatility(folder: Path) -> None:
    """Have volatility3 know the symbols of a folder, and keep what it caches there."""
    constants: Any = importlib.import_module("volatility3.framework.constants")
    room: Any = importlib.import_module("volatility3.symbols")
    importlib.import_module("volatility3.framework.symbols.linux.extensions.network")
    cache: Any = importlib.import_module("volatility3.framework.automagic.symbol_cache")
    constants.CACHE_PATH = str(folder)
    room.__path__ = constants.SYMBOL_BASEPATHS = [str(folder)]
    cache.SqliteCache(str(folder / constants.IDENTIFIERS_FILENAME)).update()


def by_volatility(path: Path) -> int:
    """The root that volatility3's stacker for Linux takes; 0: none."""
    contexts: Any = importlib.import_module("volatility3.framework.contexts")
    physical: Any = importlib.import_module("volatility3.framework.layers.physical")
    linux: Any = importlib.import_module("volatility3.framework.automagic.linux")
    context = contexts.Context()
    context.config["file.location"] = path.as_uri()
    context.add_layer(physical.FileLayer(context, "file", "memory"))
    layer = linux.LinuxIntelStacker.stack(context, "memory")
    return 0 if layer is None else int(layer.config["page_map_offset"])


def rows(guest: Guest, folder: Path) -> list[str]:
    """The lines of a guest."""
    gib = guest.ram.stat().st_size / (1 << 30)
    seconds, _ = best(lambda: read(guest.ram))
    lines = [_line("read", seconds / gib)]
    seconds, found = best(lambda: by_pagewalk(guest, None))
    users, (kernel,) = found[found["kind"] == "process"], found[found["kind"] == "kernel"]
    told = f"{len(users)} of {guest.truth.processes} processes and the kernel"
    lines.append(_line("pagewalk roots", seconds / gib, told))
    lines.append(_line("  open already", open_already(guest) / gib))
    seconds, _ = best(lambda: by_pagewalk(guest, (guest.machine.format,)))
    return [*lines, _line("  its format", seconds / gib), *_others(guest, folder, int(kernel["root"]), gib)]


def _others(guest: Guest, folder: Path, root: int, gib: float) -> list[str]:
    """The lines of those that find the kernel alone."""
    name = _PAKUNODA.get(guest.machine.name.partition("-")[0])
    if name is None:
        return ["  pakunoda and volatility3 do not know this architecture"]
    path = told_where(guest, folder)
    try:
        seconds, (found, proof) = best(lambda: by_pakunoda(path, name), 2)
        lines = [_line("pakunoda", seconds / gib, _same(found, root) + proof)]
        if name == "x86_64":
            lines.append(_line("  symbols", symbols(guest.ram, folder) / gib))
            volatility(folder)
            seconds, found = best(lambda: by_volatility(guest.ram), 2)
            lines.append(_line("volatility3", seconds / gib, _same(found, root)))
    except ImportError as error:
        return [f"  not installed: {error.name}"]
    return lines


def _same(found: int, root: int) -> str:
    """What another has found."""
    return "the kernel" if found == root else f"{found:#x} and not {root:#x}" if found else "nothing"


def _line(name: str, seconds: float, told: str = "") -> str:
    """A line of figures."""
    return f"  {name:<16}{seconds:8.3f} s/GiB  {told}".rstrip()


def main() -> None:
    """The guests that are named, or some of each kind."""
    about = machine()
    sys.stdout.write(f"{about['cpu']}, {about['cores']} cores, load {about['load']}\n")
    few = sys.argv[1:2] == ["--few"]
    for name in sys.argv[1 + few :] or GUESTS:
        machine_ = fewer_fakes(CROWDS[name]) if few else CROWDS[name]
        with tempfile.TemporaryDirectory() as folder, booted(machine_, Path(folder)) as guest:
            lines = rows(guest, Path(folder))
            sys.stdout.write("\n".join([name, *lines]) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
