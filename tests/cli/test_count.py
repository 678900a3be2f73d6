"""``pagewalk count``: how much there is, by kind and page size; what it says is what ``map`` lists."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

import pagewalk as pw
from pagewalk.query import count_tables


@pytest.fixture(scope="module")
def image(guest: Any) -> list[Any]:
    return [guest.path, "--root", hex(guest.root)]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--end", "0x800000000000"],
        ["--start", "ffff800000000000"],
        ["--kind", "guard,swap"],
        ["--having", "write", "--lacking", "user"],
        ["--hardware"],
        ["--hardware", "--kind", "guard"],
        ["--frames", "0x2fc0000:1M"],
    ],
)
def test_it_is_what_map_lists(invoke: Any, image: list[Any], options: list[str]) -> None:
    listed = json.loads(invoke("map", *image, *options, "--pages", "--json").stdout)
    said = json.loads(invoke("count", *image, *options, "--json").stdout)
    rows = Counter((row["kind"], row["page_size"]) for row in listed["mappings"])
    assert {(one["kind"], one["page_size"]): one["entries"] for one in said["counts"]} == rows
    for one in said["counts"]:
        assert one["size"] == one["entries"] * one["page_size"]
    assert [said[key] for key in ("source", "root", "vaddr", "size")] == [
        listed[key] for key in ("source", "root", "vaddr", "size")
    ]


def test_text(invoke: Any, image: list[Any], guest: Any) -> None:
    done = invoke("count", *image, "--end", "0x800000000000")
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert lines[0].split() == ["KIND", "PAGE", "ENTRIES", "SIZE"]
    assert "guard        4K        9   36 KiB" in lines
    assert lines[-2].endswith(" entries")
    found = count_tables(guest.tables())
    assert lines[-1] == f"page tables: 500 KiB: {', '.join(f'{many} {name}' for name, many in found.items())}"


def test_groups_count_by_entries(invoke: Any, tmp_path: Any) -> None:
    """A contiguous group of 16 pages is 16 entries, which stand for one small page each."""
    above = [(at + 1) * 4096 | 3 for at in range(3)]
    group = [0x10000 + at * 4096 | 1 << 52 | 0x443 for at in range(16)]
    words = [word for part in (*([one] for one in above), group) for word in (part + [0] * 512)[:512]]
    path = tmp_path / "image"
    path.write_bytes(b"".join(word.to_bytes(8, "little") for word in words).ljust(1 << 18, b"\0"))
    said = json.loads(
        invoke("count", path, "--root", "0", "--format", "arm64-4k", "--end", "0x1000000000000", "--json").stdout
    )
    assert said["counts"] == [{"kind": "present", "page_size": 1 << 16, "entries": 16, "size": 1 << 16}]


def test_tables_that_are_shared_count_once() -> None:
    memory = pw.Ram(1 << 16)
    entry = 0x2067
    memory.write(0x1000, entry.to_bytes(8, "little") * 512)
    memory.write(0x2000, (0x3067).to_bytes(8, "little") + (1 << 40 | 0x67).to_bytes(8, "little"))
    tables = pw.PageTables(memory, 0x1000)
    assert count_tables(tables) == {"PGD": 1, "PUD": 1, "PMD": 2, "PTE": 0}
    assert count_tables(tables, windows=tables.windows[1:]) == {"PGD": 1, "PUD": 1, "PMD": 2, "PTE": 0}
    memory.write(0x1000, bytes(2048))
    assert count_tables(tables, windows=tables.windows[:1]) == {"PGD": 1, "PUD": 0, "PMD": 0, "PTE": 0}


def test_a_process(invoke: Any, process: int) -> None:
    said = json.loads(invoke("count", f"pid:{process}", "--json").stdout)
    assert said["pid"] == process
    assert sum(one["entries"] for one in said["counts"]) == len(pw.mappings(pw.capture(process), coalesce=False))


class TestWrong:
    def test_what_only_rows_have(self, fails: Any, image: list[Any]) -> None:
        assert "outside: only rows of map have it" in fails(2, "count", *image, "--having", "outside")
        assert "repeated: only rows of map have it" in fails(2, "count", *image, "--lacking", "repeated")

    def test_contradictions(self, fails: Any, image: list[Any]) -> None:
        assert "contradict each other: write is" in fails(2, "count", *image, "--having", "write", "--lacking", "write")
        assert "empty range" in fails(5, "count", *image, "--start", "0x2000", "--end", "0x1000")

    def test_malformed_entries_are_warned_of(self, invoke: Any, tmp_path: Any) -> None:
        path = tmp_path / "image"
        path.write_bytes((0x1067).to_bytes(8, "little") + (1 << 40 | 0x67).to_bytes(8, "little") + bytes(8176))
        done = invoke("count", path, "--root", "0")
        assert done.exit_code == 4
        assert "nothing could be read" in done.stdout
        assert "warning: " in done.stderr
