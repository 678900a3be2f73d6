"""Images of 64 GiB of which little is there: `map` and `count` stay under 300 MiB, ELF and AVML alike."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.memory.avmls import avml
from tests.memory.cores import Load, core

if TYPE_CHECKING:
    from pathlib import Path

PAGE, PER, RUN = 4096, 512, 8
SIZE = 64 << 30
BLOCKS, TABLES = 16, 256
"""Places in memory where tables lie side by side, and how many there are at each."""
ROOT, UPPER, MIDDLE = PAGE * 16, PAGE * 17, PAGE * 18
PRESENT = 0x67
LIMIT = 300 << 10
"""KiB that the whole process may take, its own start among them."""
MEASURED = """
import sys
from pagewalk.cli import main
try:
    main(sys.argv[1:])
finally:
    (most,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    print(most.split()[1], file=sys.stderr)
"""


def table(paddrs: np.ndarray) -> bytes:
    words = np.zeros(PER, "<u8")
    words[: len(paddrs)] = paddrs.astype(np.uint64) | np.uint64(PRESENT)
    return words.tobytes()


def ranges(blocks: int = BLOCKS, tables: int = TABLES) -> dict[int, bytes]:
    """What there is, by where it begins: the upper tables, and those of the last level, frames in runs of eight."""
    rng = np.random.default_rng(1)
    starts = [(at + 1) * SIZE // (blocks + 2) // (16 << 20) * (16 << 20) for at in range(blocks)]
    last = np.concatenate([start + PAGE * np.arange(tables) for start in starts])
    middles = last.reshape(-1, min(PER, len(last)))
    upper = table(np.array([UPPER])) + table(MIDDLE + PAGE * np.arange(len(middles)))
    found = {ROOT: upper + b"".join(table(part) for part in middles)}
    for start in starts:
        runs = rng.integers(0, SIZE // PAGE // RUN, (tables, PER // RUN, 1)) * RUN
        frames = (runs + np.arange(RUN)).reshape(tables, PER) * PAGE
        found[start] = b"".join(table(part) for part in frames)
    return found


def sparse_core(path: Path, parts: dict[int, bytes]) -> Path:
    """An ELF core that has all of the memory, in a file with holes."""
    head = core([Load(0, b"", stored=SIZE, size=SIZE)])
    with path.open("wb") as file:
        file.write(head)
        for start, data in parts.items():
            file.seek(len(head) + start)
            file.write(data)
        file.truncate(len(head) + SIZE)
    return path


@pytest.fixture(scope="module", params=["elf", "avml"])
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("sparse") / "image"
    if request.param == "elf":
        return sparse_core(path, ranges())
    path.write_bytes(avml(ranges() | {SIZE - PAGE: b"\xff" * PAGE}))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("words", [["count", "--json"], ["map"], ["map", "--json", "--limit", "1"]], ids=" ".join)
def test_memory(image: Path, words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", MEASURED, words[0], str(image), "--root", hex(ROOT), *words[1:]]
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stderr.splitlines()[-1]) < LIMIT
    pages = BLOCKS * TABLES * PER
    if words[0] == "count":
        said = json.loads((tmp_path / "out").read_text())
        assert said["counts"] == [{"kind": "present", "page_size": PAGE, "entries": pages, "size": pages * PAGE}]
        assert said["tables"] == {"PGD": 1, "PUD": 1, "PMD": BLOCKS * TABLES // PER, "PTE": BLOCKS * TABLES}
