"""Dumps that QEMU makes of a guest: each listing is that of the guest's RAM file, and x86's need no root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

import pagewalk as pw
from pagewalk.sources import source
from tests.conftest import skip_or_fail
from tests.real import kernels
from tests.real.boot import booted
from tests.real.machines import MACHINES, Machine
from tests.real.packages import NotToBeHad

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.real.boot import Guest

pytestmark = [pytest.mark.real, pytest.mark.slow]

TOLD: Final = "x86_64-6.12"
"""The guest that gives QEMU its VMCOREINFO."""
NOTED: Final = (TOLD, "x86_64-6.1-pti", "i386-6.1-pae")
"""Guests whose registers are in QEMU's notes."""


def machine(name: str) -> Machine:
    """A guest of the table, as small as it can be."""
    found = MACHINES[name]._replace(megabytes=256)
    if name == TOLD:
        return found._replace(kernel=kernels.X86_64_6_12_TOLD, devices=("vmcoreinfo",))
    return found._replace(options=found.options.replace("hugepagesz=1G hugepages=1", ""))


@pytest.fixture(scope="module", params=[*NOTED, "arm64-4k", "riscv64-sv39"])
def dumped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    try:
        with booted(machine(request.param), tmp_path_factory.mktemp("vm")) as one:
            yield one
    except NotToBeHad as reason:
        skip_or_fail(f"{request.param} cannot be booted: {reason}")


@pytest.fixture(scope="module", params=[False, True], ids=["", "paging"])
def core(dumped: Guest, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dump; with ``paging`` x86's headers are those of the tables of each CPU."""
    path: Path = tmp_path_factory.mktemp("dump") / "core"
    dumped.monitor.ask("dump-guest-memory", paging=request.param, protocol=f"file:{path}")
    return path


def test_the_listing_is_that_of_the_ram(dumped: Guest, core: Path) -> None:
    noted = dumped.machine.name in NOTED
    tables = pw.open(core, registers=None if noted else dumped.registers, os=dumped.machine.os)
    if named_in_part(core):
        check_a_part(tables, dumped)
        return
    for coalesce in (True, False):
        ours, rams = (pw.mappings(one, coalesce=coalesce) for one in (tables, dumped.tables()))
        assert len(ours) > 100
        np.testing.assert_array_equal(ours, rams)


def named_in_part(core: Path) -> bool:
    """Whether a dump's headers are of tables that map little: under page-table isolation, while a program runs."""
    with source(core) as opened:
        return any("its headers name part of its memory" in sentence for sentence in opened.missing)


def check_a_part(tables: pw.PageTables, dumped: Guest) -> None:
    """Where memory ends cannot be known then: tables beyond are missed, and all that is found is right."""
    findings: list[pw.TranslationError] = []
    ours, rams = pw.mappings(tables, coalesce=False, findings=findings), pw.mappings(dumped.tables(), coalesce=False)
    assert all("is not in memory" in str(finding) for finding in findings)
    assert len(ours) > 0.8 * len(rams)
    found = np.isin(rams["vaddr"], ours["vaddr"])
    for name in ("vaddr", "paddr", "entry", "kind"):
        np.testing.assert_array_equal(ours[name], rams[found][name])


def test_the_registers_are_those_of_the_cpu(dumped: Guest, core: Path) -> None:
    with source(core) as opened:
        if dumped.machine.name not in NOTED:
            assert opened.cpus == ()
            assert "general ones of 1 CPUs" in opened.missing[0]
            return
        assert len(opened.cpus) == 1
        told = {name: value for name, value in opened.cpus[0].items() if name != "efer"}
        assert told.items() <= dumped.registers.items()
        assert opened.tables(os=dumped.machine.os).format.name == dumped.machine.format


def test_vmcoreinfo(dumped: Guest, core: Path) -> None:
    with source(core) as opened:
        release = opened.vmcoreinfo.get("OSRELEASE", "")
        assert (dumped.machine.name == TOLD) == bool(release)
        assert release in dumped.truth.release


def test_another_reader_of_the_same_file(dumped: Guest, core: Path) -> None:
    with core.open("rb") as file, source(core) as opened:
        for segment in ELFFile(file).iter_segments("PT_LOAD"):
            start, size = segment["p_paddr"], segment["p_filesz"]
            for at in {0, size // 2 & ~4095, max(0, size - 4096)} if size else ():
                data = opened.memory.read(start + at, min(4096, size))
                file.seek(segment["p_offset"] + at)
                assert data == file.read(len(data))
