"""What many tests need: a real guest's memory, and what its kernel said about it."""

from __future__ import annotations

import json
import lzma
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pagewalk.source

if TYPE_CHECKING:
    from pagewalk.tables import PageTables

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Guest:
    """A guest's memory image, and the truth about it (see ``data/README.md``)."""

    path: Path
    truth: dict[str, Any]

    @property
    def root(self) -> int:
        return int(self.truth["cr3"]) & -4096

    @cached_property
    def pagemap(self) -> dict[int, int]:
        """Each page of each VMA, and its entry in /proc/PID/pagemap."""
        return {int(vaddr): entry for vaddr, entry in self.truth["pm"].items()}

    def region(self, name: str) -> range:
        """The pages of a region."""
        (found,) = (region for region in self.truth["regions"] if region[0] == name)
        return range(found[1], found[2], 4096)

    def tables(self) -> PageTables:
        return pagewalk.source.open(self.path, root=self.root)


@pytest.fixture(scope="session")
def guest(tmp_path_factory) -> Guest:
    name = "x86_64-7.3-4level"
    path = tmp_path_factory.mktemp("guest") / f"{name}.ram"
    path.write_bytes(lzma.decompress((DATA / f"{name}.ram.xz").read_bytes()))
    return Guest(path, json.loads(lzma.decompress((DATA / f"{name}.truth.json.xz").read_bytes())))


def skip_or_fail(reason: str) -> None:
    """What a machine cannot run is skipped; where the real thing is required, it fails."""
    if os.environ.get("PAGEWALK_REQUIRE_REAL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
