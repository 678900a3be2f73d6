"""The state of a cloud-hypervisor snapshot, beside a small file of memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pagewalk.memory.cloud_hypervisor import CloudHypervisorSnapshot
from tests.fuzz.target import Target
from tests.memory.test_snapshots import state

if TYPE_CHECKING:
    from pathlib import Path

    from pagewalk.memory import Memory

__all__ = ["TARGET"]


def _seeds() -> list[bytes]:
    cpu = {"cr0": 1, "cr3": 0x5000, "cr4": 0x20, "efer": 0x500}
    told = state([(0, 8192), (1 << 32, 4096)], mappings=[(0, 8192), (1 << 33, 4096)], cpus=[cpu, cpu])
    old = state([(4096, 8192)])
    data = old["snapshots"]["memory-manager"]["snapshot_data"]
    data["state"] = list(data["state"].encode())
    return [json.dumps(told).encode(), json.dumps(old).encode()]


def _open(path: Path) -> Memory:
    folder = path.parent / "snapshot"
    folder.mkdir(exist_ok=True)
    path.replace(folder / "state.json")
    if not (folder / "memory-ranges").exists():
        (folder / "memory-ranges").write_bytes(bytes(12288))
    return CloudHypervisorSnapshot(folder)


TARGET = Target(_seeds, _open, 20, ("pagewalk.memory.cloud_hypervisor", "pagewalk.memory.layered"))
