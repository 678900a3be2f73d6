"""``pagewalk roots``, and ``--root auto``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pagewalk.errors import UnsupportedError
from tests.guests import unpack
from tests.memory.cores import lime
from tests.sources.noise import Machine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine("x86-64", 7)


@pytest.fixture(scope="module")
def crowd(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One kernel and its programs."""
    path: Path = tmp_path_factory.mktemp("crowd") / "ram"
    path.write_bytes(machine.memory.segments[0].data)
    return path


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The memories of two guests, each at its own addresses."""
    folder = tmp_path_factory.mktemp("two")
    guests = [unpack(name, folder) for name in ("aarch64-7.2-4k-48", "riscv64-7.2-sv39")]
    path: Path = folder / "lime"
    path.write_bytes(lime([(one.truth["ram_base"], one.ram) for one in guests]))
    return path


def test_table(invoke: Any, crowd: Path, machine: Machine) -> None:
    done = invoke("roots", crowd, "--format", "x86-64")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["ROOT", "USER", "ROOT", "FORMAT", "KIND", "KERNEL", "SCORE", "PAGES", "CPU", "WHY"]
    assert lines[1].split()[:5] == [hex(machine.kernel), "-", "x86-64", "kernel", "0"]
    assert [line.split()[0] for line in lines[2:]] == [hex(root) for root in sorted(machine.users)]


def test_json(invoke: Any, crowd: Path, machine: Machine) -> None:
    rows = json.loads(invoke("roots", crowd, "--format", "x86-64", "--json").stdout)
    assert {row["root"] for row in rows if row["kind"] == "process"} == {hex(root) for root in machine.users}
    assert (rows[0]["kind"], rows[0]["user_root"], rows[0]["levels"], rows[0]["cpu"]) == ("kernel", "0x0", 4, -1)


def test_none(invoke: Any, tmp_path: Path) -> None:
    path = tmp_path / "ram"
    path.write_bytes(bytes(1 << 20))
    done = invoke("roots", path)
    assert done.exit_code == UnsupportedError.exit_code == 8
    assert done.stdout == ""
    assert "no page tables prove themselves: is the base right (--base 0, 1G, 2G)?" in done.stderr


def test_auto_with_one_kernel(invoke: Any, crowd: Path, machine: Machine) -> None:
    auto = invoke("map", crowd, "--root", "auto", "--format", "x86-64")
    assert auto.exit_code == 0
    assert auto.stdout
    assert auto.stdout == invoke("map", crowd, "--root", hex(machine.kernel), "--format", "x86-64").stdout


def test_auto_with_two_kernels(invoke: Any, two: Path) -> None:
    rows = json.loads(invoke("roots", two, "--json").stdout)
    assert [(row["format"], row["kernel"]) for row in rows] == [("arm64-4k", 0), ("riscv-sv39", 1)]
    done = invoke("map", two, "--root", "auto")
    assert done.exit_code == UnsupportedError.exit_code
    assert "root auto: it is not clear which is meant: " in done.stderr
    for row in rows:
        assert f"{row['root']} ({row['format']}, process of kernel {row['kernel']})" in done.stderr
    assert done.stderr.rstrip().endswith("give one as the root")
