"""The state of a cloud-hypervisor snapshot, beside a small file of memory.

Bytes that are changed leave no JSON, mostly: so it is what the JSON says that is changed, in most inputs.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, Final

from pagewalk.memory.dumps.cloud_hypervisor import CloudHypervisorSnapshot
from tests.fuzz.mutate import NUMBERS, mutated
from tests.fuzz.target import Target
from tests.memory.test_snapshots import state

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

    from pagewalk.memory import Memory

__all__ = ["TARGET"]

ODD: Final[tuple[Any, ...]] = (
    *NUMBERS,
    *(-1, 1 << 64, 1 << 100, 0.5, 1e308, True, None, "", "0x1000", "memory-manager", [], {}, [[]], [0]),
)
MANY: Final = 300
"""How often a row is repeated."""


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


def _hostile(seed: bytes, rng: random.Random, header: int) -> bytes:
    """A state that says something else; now and then, one of other bytes."""
    if rng.random() < 0.1:
        return mutated(seed, rng, header)
    said, texts = json.loads(seed), []
    for part in _parts(said):
        text = part["state"]
        part["state"] = json.loads(bytes(text) if isinstance(text, list) else text)
        texts.append((part, isinstance(text, list)))
    for _ in range(rng.choice((1, 1, 2, 4))):
        nodes = list(_nodes(said)) or [([0], 0)]
        holder, key = rng.choice(nodes)
        rng.choice(_CHANGES)(holder, key, rng, nodes)
    for part, as_bytes in texts:
        if "state" in part:
            text = json.dumps(part["state"]).encode()
            text = mutated(text, rng, 0) if rng.random() < 0.05 else text
            part["state"] = list(text) if as_bytes else text.decode("latin-1")
    return json.dumps(said).encode()


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    """What of it holds JSON in a text."""
    for holder, key in list(_nodes(tree)):
        if key == "snapshot_data" and holder[key] is not None:
            yield holder[key]


def _nodes(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Everything in it, as what it is in and under which key."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from _nodes(tree[key])


def _odd(holder: Any, key: Any, rng: random.Random, _: Any) -> None:
    holder[key] = copy.deepcopy(rng.choice(ODD))


def _near(holder: Any, key: Any, rng: random.Random, _: Any) -> None:
    was = holder[key]
    holder[key] = was + rng.choice((-4096, -1, 1, 4096, 1 << 32)) if isinstance(was, int) else rng.choice(NUMBERS)


def _gone(holder: Any, key: Any, _rng: random.Random, _: Any) -> None:
    del holder[key]


def _again(holder: Any, key: Any, rng: random.Random, _: Any) -> None:
    """The same once more, or many times; in a table of names, under another one."""
    if isinstance(holder, list):
        holder[key:key] = [holder[key]] * rng.choice((1, 2, MANY))
    else:
        holder[f"{key}-"] = holder[key]


def _elsewhere(holder: Any, key: Any, rng: random.Random, nodes: list[tuple[Any, Any]]) -> None:
    """A copy of something else."""
    other, name = rng.choice(nodes)
    holder[key] = json.loads(json.dumps(other[name]))


_CHANGES: Final = (_odd, _odd, _near, _near, _near, _gone, _again, _elsewhere)

TARGET = Target(
    _seeds,
    _open,
    header=20,
    modules=("pagewalk.memory.dumps.cloud_hypervisor", "pagewalk.memory.files.layered"),
    mutate=_hostile,
    refusal="no JSON|says nothing of",
)
