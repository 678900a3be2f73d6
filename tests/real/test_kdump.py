"""One guest, saved by QEMU and makedumpfile in every form that they know: each listing is that of the guest's RAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn
import numpy as np
import pytest

import pagewalk as pw
from tests.conftest import skip_or_fail
from tests.memory.avmls import avml
from tests.real.boot import booted
from tests.real.kdumps import NEWER, makedumpfile, relaid
from tests.real.packages import NotToBeHad
from tests.real.test_dumps import TOLD, machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.real.boot import Guest

pytestmark = [pytest.mark.real, pytest.mark.slow]

FORMS: dict[str, tuple[str, ...]] = {
    "zlib": ("-c", "-d", "0"),
    "lzo": ("-l", "-d", "0"),
    "zeros left out": ("-c", "-d", "1"),
    "all levels": ("-c", "-d", "31"),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guest, Path]]:
    """A guest that stands still, and a core of it that makedumpfile takes."""
    folder = tmp_path_factory.mktemp("saved")
    try:
        with booted(machine(TOLD), tmp_path_factory.mktemp("vm")) as one:
            one.monitor.ask("dump-guest-memory", paging=False, protocol=f"file:{folder / 'elf'}")
            yield one, relaid(folder / "elf", folder / "core")
    except NotToBeHad as reason:
        skip_or_fail(f"{TOLD} cannot be booted: {reason}")


def equal(guest: Guest, dump: pw.Source) -> None:
    """The listing of a dump by its own registers is that of the RAM."""
    for registers in (None, guest.registers):
        tables = dump.tables(registers=registers, os=guest.machine.os)
        for coalesce in (True, False):
            ours, rams = (pw.mappings(one, coalesce=coalesce) for one in (tables, guest.tables()))
            assert len(ours) > 100
            np.testing.assert_array_equal(ours, rams)


def made(saved: tuple[Guest, Path], tmp_path: Path, *words: str, suite: str = "") -> Path:
    """A dump by makedumpfile."""
    try:
        makedumpfile(*words, str(saved[1]), str(tmp_path / "dump"), suite=suite)
    except NotToBeHad as reason:
        skip_or_fail(str(reason))
    return tmp_path / "dump"


def same_as_drgn(path: Path, memory: pw.Memory) -> None:
    """The independent reader: some thousand pages, those that are left out too."""
    program = drgn.Program()
    program.set_core_dump(path)

    def page(paddr: int) -> bytes | None:
        try:
            return program.read(paddr, 4096, physical=True)
        except drgn.FaultError:
            return None

    paddrs = range(0, 256 << 20, 4096 * 13)
    assert memory.read_many(paddrs, 4096) == [page(paddr) for paddr in paddrs]  # type: ignore[attr-defined]


class TestMakedumpfile:
    @pytest.mark.parametrize("form", FORMS)
    def test_each_form(self, saved: tuple[Guest, Path], tmp_path: Path, form: str) -> None:
        path = made(saved, tmp_path, *FORMS[form])
        with pw.source(path) as dump:
            same_as_drgn(path, dump.memory)
            equal(saved[0], dump)
            assert dump.vmcoreinfo["OSRELEASE"] in saved[0].truth.release

    @pytest.mark.parametrize("packing", ["-z", "-p"])
    def test_by_a_newer_one(self, saved: tuple[Guest, Path], tmp_path: Path, packing: str) -> None:
        """zstd; and snappy, which Debian's is built without: it then does not pack at all."""
        path = made(saved, tmp_path, packing, "-d", "0", suite=NEWER)
        with pw.source(path) as dump:
            same_as_drgn(path, dump.memory)
            equal(saved[0], dump)

    def test_flattened(self, saved: tuple[Guest, Path], tmp_path: Path) -> None:
        path = tmp_path / "dump"
        path.write_bytes(makedumpfile("-c", "-d", "0", "-F", str(saved[1])))
        with pw.source(path) as dump:
            assert dump.type == "flattened"
            equal(saved[0], dump)

    def test_split(self, saved: tuple[Guest, Path], tmp_path: Path) -> None:
        paths = [tmp_path / name for name in "abc"]
        makedumpfile("-c", "-d", "17", "--split", str(saved[1]), *map(str, paths))
        with pw.source([paths[1], paths[2], paths[0]]) as dump:
            equal(saved[0], dump)

    def test_what_is_left_out_is_told(self, saved: tuple[Guest, Path], tmp_path: Path) -> None:
        """Free pages are not in the dump, and the machine has them; what lies behind them it has not."""
        with pw.source(made(saved, tmp_path, "-c", "-d", "31")) as dump:
            assert "pages are left out of it (level 31: zeros" in dump.missing[0]
            answers = {type(error_of(dump.memory, paddr)) for paddr in range(0, 256 << 20, 4096 * 13)}
            assert answers == {type(None), pw.PageNotInDump}
            assert type(error_of(dump.memory, 256 << 20)) is pw.MemoryReadError


def error_of(memory: pw.Memory, paddr: int) -> Exception | None:
    try:
        memory.read(paddr, 8)
    except pw.MemoryReadError as error:
        return error
    return None


class TestQemu:
    def test_its_own_dumps(self, saved: tuple[Guest, Path], tmp_path: Path) -> None:
        """All that this QEMU is built for. It writes them flattened, and drgn takes none of them."""
        guest, _ = saved
        known = guest.monitor.ask("query-dump-guest-memory-capability")["formats"]
        for form in [one for one in known if one.startswith("kdump-")]:
            path = tmp_path / form
            guest.monitor.ask("dump-guest-memory", paging=False, protocol=f"file:{path}", format=form)
            with pw.source(path) as dump:
                equal(guest, dump)
        assert "kdump-zlib" in known


class TestLayouts:
    """What no tool here makes: laid out by a script."""

    def test_avml(self, saved: tuple[Guest, Path], tmp_path: Path) -> None:
        guest, _ = saved
        data = guest.ram.read_bytes()
        (tmp_path / "avml").write_bytes(avml({0: data[: 1 << 20], 1 << 20: data[1 << 20 :]}))
        with pw.source(tmp_path / "avml") as image:
            tables = image.tables(registers=guest.registers, os=guest.machine.os)
            ours, rams = (pw.mappings(one) for one in (tables, guest.tables()))
            np.testing.assert_array_equal(ours, rams)

    def test_firecracker(self, saved: tuple[Guest, Path]) -> None:
        guest, _ = saved
        with pw.source(guest.ram, source_type="firecracker") as snapshot:
            tables = snapshot.tables(registers=guest.registers, os=guest.machine.os)
            assert pw.mappings(tables).tobytes() == pw.mappings(guest.tables()).tobytes()
