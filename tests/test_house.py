"""The house rules that a test can hold: what imports what, what is public, how long things are."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pagewalk as pw

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
CODE = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "benchmarks").rglob("*.py"))]

PUBLIC = """
Action AddressSpace AlreadyMapped BadRoot Built BusError CachedMemory Capture Change Conflict CountingAllocator
EditError Entry File Flag FlatMemory FolioWalk FrameAllocator ImageFormatError Kind Layout LayoutError MADV_COLD
MADV_COLLAPSE MADV_DODUMP MADV_DOFORK MADV_DONTDUMP MADV_DONTFORK MADV_DONTNEED MADV_DONTNEED_LOCKED MADV_FREE
MADV_GUARD_INSTALL MADV_GUARD_REMOVE MADV_HUGEPAGE MADV_KEEPONFORK MADV_NOHUGEPAGE MADV_NORMAL MADV_PAGEOUT
MADV_POPULATE_READ MADV_POPULATE_WRITE MADV_RANDOM MADV_REMOVE MADV_SEQUENTIAL MADV_WILLNEED MADV_WIPEONFORK
MAP_ANONYMOUS MAP_FIXED MAP_FIXED_NOREPLACE MAP_GROWSDOWN MAP_HUGETLB MAP_HUGE_1GB MAP_HUGE_2MB MAP_LOCKED
MAP_NONBLOCK MAP_NORESERVE MAP_POPULATE MAP_PRIVATE MAP_SHARED MAP_SHARED_VALIDATE MAP_STACK MLOCK_ONFAULT
MREMAP_DONTUNMAP MREMAP_FIXED MREMAP_MAYMOVE Machine Malformed Mapping Memory MemoryFault MemoryReadError
MemoryWriteError Mm MmapLock NO_PADDR NeedsSplit NonCanonical NotPresent OutOfFrames PGWALK_RDLOCK
PGWALK_VMA_RDLOCK_VERIFY PGWALK_WRLOCK PGWALK_WRLOCK_VERIFY PROT_EXEC PROT_NONE PROT_READ PROT_WRITE PageNotInDump
PageTables PagewalkError PagingFormat Plan ProcessError Ram RangeAllocator RawImage Region Reserve ReservedBits SKIP
SegmentationFault Source SystemCallError Translation TranslationError UnsupportedError Vma VmaFlags VmaLock Walk
WalkError WalkLock WalkOps WritableMemory __version__ build capture edit find_format folio_walk holes mappings open
open_space processes read recover roots source translate undo walk_page_mapping walk_page_range walk_page_range_novma
walk_page_range_vma walk_page_vma
"""


def test_arrows_go_down_only() -> None:
    """Rule: "a room imports what stands below it, never what stands above": the list is in pyproject.toml."""
    result = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Arrows go down only KEPT" in result.stdout


class TestPublicNames:
    def test_the_list_is_frozen(self) -> None:
        """A new name is a promise: it goes into this list knowingly."""
        assert sorted(pw.__all__) == sorted(PUBLIC.split())

    def test_every_name_is_there(self) -> None:
        assert [name for name in pw.__all__ if not hasattr(pw, name)] == []

    def test_what_installs_is_not_public(self) -> None:
        """Rule: "The walkers that accept it ... not among the package's public names"."""
        assert [name for name in pw.__all__ if name.endswith("_mm")] == []


@pytest.mark.parametrize(
    "statement",
    [
        "import pagewalk",
        "import pagewalk; pagewalk.PageTables(pagewalk.Ram(4096), 0).translate",
        "import pagewalk.cli",
    ],
)
def test_light_imports(statement: str) -> None:
    """Rule: "a single translation needs no NumPy"; ``--help`` neither, nor anything else it does without."""
    code = f"import sys; {statement}; print(*{{'numpy', 'rich', 'pyarrow', 'numba', 'drgn'}} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def long_files() -> list[str]:
    lengths = {path: len(path.read_text().splitlines()) for path in CODE}
    return [f"{path.relative_to(ROOT)}: {lines}" for path, lines in lengths.items() if lines > 500]


def long_functions() -> list[str]:
    found = []
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                lines = node.end_lineno - node.lineno + 1
                if lines > 60:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines}")
    return found


def test_files_are_short() -> None:
    assert long_files() == []


def test_functions_are_short() -> None:
    assert long_functions() == []
