"""``pagewalk info``, and the other commands on dumps that say where their tables are."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from pagewalk.abi.elf import MACHINES
from tests.memory.cores import Load, core, lime, qemu_state, vmcoreinfo

if TYPE_CHECKING:
    from pathlib import Path

    from tests.guests import Guest


@pytest.fixture(scope="module")
def dump(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dump of the guest, with two CPUs of which the first does nothing yet."""
    off = qemu_state(cr0=0x10, cr3=0, cr4=0)
    on = qemu_state(cr3=guest.registers["cr3"], cr4=guest.registers["cr4"])
    notes = off + on + vmcoreinfo("OSRELEASE=7.3.4", "SYMBOL(swapper_pg_dir)=ffffffff82a10000", "SIZE(page)=64")
    path: Path = tmp_path_factory.mktemp("dump") / "vmcore"
    path.write_bytes(core([Load(0, guest.ram[: 48 << 20]), Load(48 << 20, guest.ram[48 << 20 :])], notes))
    return path


def test_text(invoke: Any, dump: Path, guest: Guest) -> None:
    done = invoke("info", dump)
    assert done.exit_code == 0
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "type        elf: an ELF core",
        "memory      96 MiB in 1 run",
        "            0x0-0x6000000  96 MiB",
        "cpu 0       cr0=0x10 cr3=0x0 cr4=0x0 efer=0xd01",
        f"cpu 1       cr0=0x80050033 cr3={guest.registers['cr3']:#x} cr4={guest.registers['cr4']:#x} efer=0xd01",
        "format      x86-64",
        "vmcoreinfo  3 keys",
        "            OSRELEASE=7.3.4",
        "            SYMBOL(swapper_pg_dir)=ffffffff82a10000",
        f"missing     {MACHINES[62].unsaid}",
    ]


def test_json(invoke: Any, dump: Path, guest: Guest) -> None:
    said = json.loads(invoke("info", dump, "--json").stdout)
    assert (said["type"], said["packing"], said["size"], said["format"]) == ("elf", None, 96 << 20, "x86-64")
    assert said["memory"] == [{"paddr": "0x0", "size": 96 << 20}]
    assert said["cpus"][1]["cr3"] == hex(guest.registers["cr3"])
    assert said["vmcoreinfo"]["SIZE(page)"] == "64"


@pytest.mark.parametrize(
    ("data", "first", "missing"),
    [
        (bytes(8192), "raw: a raw memory image", ""),
        (gzip.compress(bytes(8192), mtime=0), "raw: gz of a raw memory image", ""),
        (lime([(0x1000, bytes(4096))]), "lime: a LiME image", "it has no registers: give --root or --registers"),
    ],
)
def test_other_types(invoke: Any, data: bytes, first: str, missing: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(data)
    text = invoke("info", path).stdout
    assert text.startswith(f"type        {first}\n")
    assert missing in text


def test_many_runs(invoke: Any, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(lime([(at << 20, bytes(4096)) for at in range(20)]))
    lines = invoke("info", path).stdout.splitlines()
    assert lines[1] == "memory      80 KiB in 20 runs"
    assert lines[10] == "            and 12 more up to 0x1301000"


def test_no_root_is_needed(invoke: Any, dump: Path, guest: Guest) -> None:
    ours, raws = invoke("map", dump), invoke("map", guest.path, "--root", hex(guest.root))
    assert ours.exit_code == 0
    assert ours.stdout == raws.stdout
    assert "of 2 CPUs the first that translates says where its tables are" in ours.stderr


def test_a_type_by_name(invoke: Any, fails: Any, dump: Path, guest: Guest) -> None:
    assert invoke("info", dump, "--source-type", "raw").stdout.startswith("type        raw")
    line = fails(7, "map", guest.path, "--root", hex(guest.root), "--source-type", "elf")
    assert line.endswith("no ELF file: the first bytes are others")
    assert "no source type is called 'elv'" in fails(8, "info", dump, "--source-type", "elv")


def test_what_info_is_not_of(fails: Any, tmp_path: Path) -> None:
    assert "pid:1 is a process: pagewalk live shows it" in fails(8, "info", "pid:1")
    assert "No such file" in fails(10, "info", tmp_path / "nothing")
    path = tmp_path / "state"
    path.write_bytes(b"QEVM" + bytes(4096))
    assert "a QEMU savevm stream is not read: load it, and take a dump" in fails(8, "info", path)
    path.write_bytes(core([Load(0x1000, bytes(4096))]))
    assert "Missing option '--root', '--registers' or '--pid'" in fails(2, "map", path)
