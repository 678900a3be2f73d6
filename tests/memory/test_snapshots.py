"""Snapshots of virtual machines, laid out by scripts: no reader but this one knows them."""

from __future__ import annotations

import json
import pickle
import random
from typing import TYPE_CHECKING, Any

import pytest

import pagewalk as pw
from pagewalk.memory import extents_of
from pagewalk.memory.dumps.cloud_hypervisor import CloudHypervisorSnapshot
from pagewalk.memory.dumps.firecracker import FirecrackerMemory
from pagewalk.testing import check_memory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

G, M, PAGE = 1 << 30, 1 << 20, 4096


def sparse(path: Path, size: int, parts: dict[int, bytes]) -> Path:
    """A file with holes."""
    with path.open("wb") as file:
        file.truncate(size)
        for at, data in parts.items():
            file.seek(at)
            file.write(data)
    return path


class TestFirecracker:
    def test_holes_are_put_back(self, tmp_path: Path) -> None:
        size = 260 * G
        parts = {0: b"first", 3 * G - 4: b"lowedge!", 255 * G: b"above the second hole"}
        memory = pw.source(sparse(tmp_path / "mem", size, parts), source_type="firecracker").memory
        assert extents_of(memory).tolist() == [[0, 3 * G], [4 * G, 256 * G], [512 * G, 512 * G + 5 * G]]
        assert memory.read(0, 5) == b"first"
        assert (memory.read(3 * G - 4, 4), memory.read(4 * G, 4)) == (b"lowe", b"dge!")
        assert memory.read(512 * G, 21) == b"above the second hole"
        for paddr in (3 * G - 2, 3 * G, 256 * G, 517 * G):
            with pytest.raises(pw.MemoryReadError):
                memory.read(paddr, 8)

    def test_another_base_has_other_holes(self, tmp_path: Path) -> None:
        path = sparse(tmp_path / "mem", 255 * G, {0: b"first", 254 * G: b"above"})
        memory = pw.source(path, source_type="firecracker", base=2 * G).memory
        assert extents_of(memory).tolist() == [[2 * G, 256 * G], [512 * G, 513 * G]]
        assert memory.read(512 * G, 5) == b"above"
        with pytest.raises(ValueError, match="begins at one of 0x0, 0x80000000, not at 0x1000"):
            pw.source(path, source_type="firecracker", base=0x1000)

    def test_layers(self, tmp_path: Path) -> None:
        """Each page is that of the last file which has it."""
        rng = random.Random(5)
        size, pages = 4 * M, 4 * M // PAGE
        want = bytearray(rng.randbytes(size))
        paths = [tmp_path / "full"]
        paths[0].write_bytes(want)
        for layer in range(3):
            parts = {PAGE * number: rng.randbytes(PAGE) for number in rng.sample(range(pages), 100)}
            parts[PAGE * layer] = bytes(PAGE)  # written, with zeros
            paths.append(sparse(tmp_path / f"diff{layer}", size, parts))
            for at, data in parts.items():
                want[at : at + PAGE] = data
        source = pw.source(paths, source_type="firecracker")
        assert source.memory.read(0, size) == want
        check_memory(source.memory, 0, size, writable=False)
        assert pickle.loads(pickle.dumps(source.memory)).read(0, size) == want
        source.close()
        with pytest.raises(pw.MemoryReadError, match="was closed"):
            source.memory.read(0, 8)

    def test_a_guest(self, guest, tmp_path: Path) -> None:
        """The same RAM gives the same listing, its pages spread over two files."""
        data = guest.path.read_bytes()
        numbers = [at for at in range(0, len(data), PAGE) if at // PAGE % 3 == 0 and any(data[at : at + PAGE])]
        full = tmp_path / "full"
        full.write_bytes(
            b"".join(bytes(PAGE) if at in set(numbers) else data[at : at + PAGE] for at in range(0, len(data), PAGE))
        )
        diff = sparse(tmp_path / "diff", len(data), {at: data[at : at + PAGE] for at in numbers})
        snapshot = pw.source([full, diff], source_type="firecracker")
        raw, layered = (pw.mappings(pw.open(one, root=guest.root)) for one in (guest.path, snapshot))
        assert raw.tobytes() == layered.tobytes()

    @pytest.mark.parametrize("sizes", [(4096, 8192), (4097,), (100,)])
    def test_sizes_that_are_wrong(self, tmp_path: Path, sizes: tuple[int, ...]) -> None:
        paths = [sparse(tmp_path / f"{at}", size, {}) for at, size in enumerate(sizes)]
        with pytest.raises(pw.ImageFormatError, match="not of the pages of"):
            FirecrackerMemory(paths)

    def test_cut_off_while_it_is_open(self, tmp_path: Path) -> None:
        memory = FirecrackerMemory(sparse(tmp_path / "mem", M, {0: b"x"}))
        sparse(tmp_path / "mem", 0, {})
        with pytest.raises(pw.MemoryReadError, match="was cut off while it was open"):
            memory.read(0, 8)

    def test_an_old_ones_hole_is_told_of(self, tmp_path: Path) -> None:
        memory = FirecrackerMemory(sparse(tmp_path / "mem", 4 * G, {}))
        assert any("0xd0000000" in one for one in memory.missing)
        assert not any("0xd0000000" in one for one in FirecrackerMemory(sparse(tmp_path / "small", 3 * G, {})).missing)


def state(
    ranges: Sequence[tuple[int, int]],
    *,
    mappings: Sequence[tuple[int, int]] = (),
    cpus: Sequence[dict[str, Any]] = (),
) -> Any:
    """A state as cloud-hypervisor writes one, of what is read."""
    memory = {
        "memory_ranges": {"data": [{"gpa": gpa, "length": size} for gpa, size in ranges]},
        "guest_ram_mappings": [{"gpa": gpa, "size": size, "slot": 0, "zone_id": "mem0"} for gpa, size in mappings],
    }
    vcpus = {
        str(at): {"snapshots": {}, "snapshot_data": {"state": json.dumps({"Kvm": {"regs": {"rip": 1}, "sregs": cpu}})}}
        for at, cpu in enumerate(cpus)
    }
    parts = {
        "cpu-manager": {"snapshots": vcpus, "snapshot_data": None},
        "memory-manager": {"snapshots": {}, "snapshot_data": {"state": json.dumps(memory)}},
    }
    return {"snapshots": parts, "snapshot_data": None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "memory-ranges").write_bytes(random.Random(1).randbytes(3 * M))
    return folder


class TestCloudHypervisor:
    RANGES = ((0, M), (4 * G, 2 * M))

    def test_ranges(self, folder: Path) -> None:
        cpu = {"cr0": 1, "cr3": 0x5000, "cr4": 0x20, "efer": 0x500, "cs": {}}
        cpus = [cpu | {"cr3": 4096 * at} for at in range(12)]
        (folder / "state.json").write_text(
            json.dumps(state(self.RANGES, mappings=[*self.RANGES, (8 * G, M)], cpus=cpus))
        )
        source = pw.source(folder)
        data = (folder / "memory-ranges").read_bytes()
        assert source.type == "cloud-hypervisor"
        assert source.memory.read(0, M) + source.memory.read(4 * G, 2 * M) == data
        assert [one["cr3"] for one in source.cpus] == [4096 * at for at in range(12)]
        assert source.missing == (
            "0x100000 bytes of memory at 0x200000000 are not in it: they are in the file behind the machine",
        )
        check_memory(source.memory, 4 * G, 2 * M, writable=False, close=True)

    def test_an_old_state_is_of_bytes(self, folder: Path) -> None:
        told = state(self.RANGES)
        data = told["snapshots"]["memory-manager"]["snapshot_data"]
        data["state"] = list(data["state"].encode())
        (folder / "state.json").write_text(json.dumps(told))
        assert extents_of(CloudHypervisorSnapshot(folder)).tolist() == [[0, M], [4 * G, 4 * G + 2 * M]]

    def test_pickled(self, folder: Path) -> None:
        (folder / "state.json").write_text(json.dumps(state(self.RANGES)))
        memory = CloudHypervisorSnapshot(folder)
        assert pickle.loads(pickle.dumps(memory)).read(4 * G, 99) == memory.read(4 * G, 99)

    @pytest.mark.parametrize(
        "told",
        [
            [],
            {},
            {"snapshots": []},
            {"snapshots": {"memory-manager": {"snapshot_data": {"state": "{"}}}},
            {"snapshots": {"memory-manager": {"snapshot_data": {"state": [1000]}}}},
            state([]),
            state([(0, 4 * M)]),
            state([(0, M), (4096, M)]),
            state([(-1, M)]),
            state([((1 << 64) - 4096, M)]),
            {"snapshots": {"memory-manager": {"snapshot_data": {"state": "[" * 100_000}}}},
        ],
    )
    def test_states_that_are_none(self, folder: Path, told: Any) -> None:
        (folder / "state.json").write_text(json.dumps(told))
        with pytest.raises(pw.ImageFormatError):
            pw.source(folder)

    def test_a_folder_of_something_else(self, folder: Path) -> None:
        with pytest.raises(IsADirectoryError):
            pw.source(folder)
