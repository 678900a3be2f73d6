"""Processes in cut-down images of real kernels: what is listed, what is refused, what a broken list leaves.

That the lists are right is shown on whole guests, in ``real/test_processes.py``.
"""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import pagewalk as pw
from pagewalk.cli.group import main
from pagewalk.memory import split_vmcoreinfo
from pagewalk.report.process import process_text
from pagewalk.report.process_json import process_json
from pagewalk.sources.linux.vmcoreinfo import Vmcoreinfo
from tests.cut import memory_of
from tests.fuzz.processes import PARTS, SEEDS, campaign, pages_of

OWN = {"init", "threads", "no leader", "many areas )(", "files", "odd areas", "zombie", "vforker", "vforked", "busy"}


@pytest.fixture(params=SEEDS)
def source(request) -> pw.Source:
    return pw.Source("cut", "raw", memory_of(pages_of(request.param)))


def pid_of(source: pw.Source, name: str) -> int:
    (pid,) = (int(row["pid"]) for row in source.processes() if row["name"] == name)
    return pid


class TestListing:
    """`pw.processes` is a structured array by PID."""

    def test_rows(self, source):
        rows = source.processes(cost=True)
        assert set(rows["name"][~rows["kernel_thread"]]) == OWN
        assert rows["pid"].tolist() == sorted(rows["pid"].tolist())
        assert (rows["pid"] == rows["tgid"]).all()
        with_tables = rows["root"] != 0
        assert not (rows["kernel_thread"] & with_tables).any()
        assert (rows["resident"][with_tables] > 0).all()
        assert (rows["tables"][with_tables] > 0).all()
        assert rows["threads"][rows["name"] == "threads"].tolist() == [6]
        assert rows["ended"][(rows["name"] == "zombie") | (rows["name"] == "no leader")].all()

    def test_threads(self, source):
        rows = source.processes(threads=True)
        mine = rows[rows["tgid"] == pid_of(source, "threads")]
        assert mine["name"].tolist() == ["threads", *(f"thread {at}" for at in range(5))]
        assert len(set(mine["root"].tolist())) == 1

    def test_sharing(self, source):
        """Two processes may share a root, as after vfork."""
        rows = source.processes()
        assert len(set(rows["root"][[name.startswith("vfork") for name in rows["name"]]].tolist())) == 1

    def test_paths_and_sources(self, source):
        assert (pw.processes(source) == source.processes()).all()

    def test_isolated_page_tables(self):
        rows = pw.Source("cut", "raw", memory_of(pages_of("processes-x86_64-6.1-pti"))).processes()
        own = rows[rows["root"] != 0]
        assert (own["user_root"] == own["root"] + 4096).all()
        others = pw.Source("cut", "raw", memory_of(pages_of("processes-x86_64-5.10"))).processes()
        assert not others["user_root"].any()


class TestOpening:
    """`pid=` means a process's own page tables, and the kernel's."""

    def test_tables(self, source):
        notes: list[str] = []
        tables = pw.open(source, pid=pid_of(source, "busy"), notes=notes)
        assert tables.translate(0x1000_0000).kind is pw.Kind.PRESENT
        assert any(note.startswith("the kernel is ") for note in notes)
        assert tables.format.system.startswith("linux-")

    def test_a_thread_stands_for_its_process(self, source):
        rows = source.processes(threads=True)
        mine = rows[rows["tgid"] == pid_of(source, "threads")]
        roots = {pw.open(source, pid=int(pid)).root for pid in mine["pid"]}
        assert len(roots) == 1

    def test_the_system_can_be_said(self, source):
        assert pw.open(source, pid=1, os="linux-6.6").format.system == "linux-6.6"

    def test_vmas(self, source):
        space = pw.open_space(source, pid=pid_of(source, "odd areas"))
        names = [vma.name for vma in space.vmas]
        assert {"/init", "/memfd:a memfd (deleted)", "/dev/zero (deleted)", "[stack]", "[vdso]"} <= set(names)
        (shared,) = (vma for vma in space.vmas if vma.name.startswith("/memfd"))
        assert (shared.rights, shared.mapping.name) == ("rw-s", shared.name)

    @pytest.mark.parametrize("pid", [2, 4000, 1 << 31])
    def test_refused(self, source, pid):
        for ask in (lambda: pw.open(source, pid=pid), lambda: pw.open_space(source, pid=pid)):
            with pytest.raises(pw.ProcessError, match=str(pid)):
                ask()

    def test_contradictions(self, source):
        with pytest.raises(ValueError, match="a process and a root contradict"):
            pw.open(source, pid=1, root=0)
        with pytest.raises(ValueError, match="a process and registers contradict"):
            pw.open(source, pid=1, registers="cr3=0x0")
        with pytest.raises(pw.UnsupportedError, match="leave the format"):
            pw.open(source, pid=1, format="ia32")
        with pytest.raises(pw.UnsupportedError, match="encrypted"):
            pw.open(source, pid=1, encryption_bit=47)


class TestBroken:
    """What can be known, with notes of what cannot."""

    def test_no_kernel(self):
        with pytest.raises(pw.UnsupportedError, match="no BTF"):
            pw.Source("empty", "raw", pw.Ram(1 << 20)).processes()

    @pytest.mark.parametrize("part", PARTS)
    def test_hostile_memories(self, part):
        found = campaign(part, 2000 if part == "btf" else 150)
        assert found.wrong == []
        assert found.listed

    def test_a_memory_that_is_asked(self, source):
        """A memory that shows no bytes in place gives the same rows."""

        class Asked:
            extents = tuple((segment.start, segment.end) for segment in source.memory.segments)

            def read(self, paddr: int, size: int) -> bytes:
                return source.memory.read(paddr, size)

        assert (pw.Source("asked", "raw", Asked()).processes() == source.processes()).all()


class TestCommands:
    """`pagewalk ps SOURCE`, and `--pid N` on every command."""

    @pytest.fixture
    def image(self, tmp_path) -> tuple[str, list[str]]:
        """A file of the pages, and where they lie."""
        path, pages = tmp_path / "image", pages_of("processes-arm64-4k")
        path.write_bytes(b"".join(pages[at] for at in sorted(pages)))
        parts = [f"--segment={at:#x}:{number * 4096:#x}:4K" for number, at in enumerate(sorted(pages))]
        return str(path), parts

    def test_ps(self, image):
        path, parts = image
        done = CliRunner().invoke(main, ["ps", path, *parts])
        assert done.exit_code == 0
        assert "vforked" in done.stdout
        assert "kernel" in done.stdout
        done = CliRunner().invoke(main, ["ps", path, *parts, "--json"])
        found = json.loads(done.stdout)
        (busy,) = (row for row in found["processes"] if row["name"] == "busy")
        assert busy["root"].startswith("0x")
        assert any(note.startswith("the kernel is 7.2") for note in found["notes"])

    def test_vmas(self, image):
        """The listing by VMA is that of a live process: totals, page tables, and a line a VMA."""
        path, parts = image
        done = CliRunner().invoke(main, ["vmas", path, *parts, "--pid", "1"])
        assert done.exit_code == 0
        head, _, table = done.stdout.partition("\n\n")
        assert "process 1: 9 VMAs, 1.8 MiB: 4K 696 KiB, UNTOUCHED 1.2 MiB\n" in head
        assert "page tables: 40 KiB (VmPTE); needed, as computed: 1 PGD, 2 PUD, 3 PMD, 5 PTE\n" in head
        assert "note: the kernel is 7.2" in head
        headings, *lines = (line.split() for line in table.splitlines())
        assert headings == ["ADDRESSES", "RIGHTS", "SIZE", "4K", "UNTOUCHED", "NAME"]
        assert lines[0] == ["0x000000400000-0x00000048b000", "r-xp", "556K", "512K", "44K", "/init"]
        assert [line[-1] for line in lines if line[-1].startswith("[")] == ["[heap]", "[vvar]", "[vdso]", "[stack]"]

    def test_vmas_as_data(self, image):
        path, parts = image
        done = CliRunner().invoke(main, ["vmas", path, *parts, "--pid", "1", "--json", "--filter", "stack"])
        found = json.loads(done.stdout)
        assert (found["pid"], found["format"], found["page_table_bytes"]) == (1, "arm64-4k", 40 << 10)
        assert (found["frames_known"], found["complete"], found["changed"], found["findings"]) == (True, True, [], 0)
        (stack,) = found["vmas"]
        assert (stack["size"], stack["small"], stack["untouched"]) == (132 << 10, 12 << 10, 120 << 10)
        assert (stack["file"], stack["shared"], stack["exclusive"]) == (None, None, None)

    @pytest.mark.parametrize(
        ("options", "code", "says"),
        [
            (["--pid", "4711"], 9, "there is no process 4711 in this memory: pagewalk ps lists those there are"),
            (["--pid", "2"], 9, "process 2 is a kernel thread: it has no page tables of its own"),
            (["--pid", "0"], 2, "0 is too small"),
            ([], 2, "Missing option '--pid': which process; pagewalk ps lists them"),
            (["--pid", "1", "--sort", "gards"], 2, "did you mean guard?"),
            (["--pid", "1", "--sort", "shared"], 2, "whose pages they are is told of live processes only"),
            (["--pid", "1", "--filter", "exclusive"], 2, "whose pages they are is told of live processes only"),
        ],
    )
    def test_no_vmas(self, image, options, code, says):
        path, parts = image
        done = CliRunner().invoke(main, ["vmas", path, *parts, *options])
        assert (done.exit_code, done.stdout) == (code, "")
        (line,) = done.stderr.splitlines()
        assert says in line

    def test_vmas_of_a_torn_table(self, source):
        """What is malformed is passed over, and said."""
        space = source.space(1)
        tables, page = space.tables, space.tables.format.page_size
        top = tables.top(tables.windows[0])
        slot = next(at for at in range(top.level.entries) if top.level.is_table(top.slots[at]))
        far = int(top.level.table((1 << 36) - page)).to_bytes(8, "little")
        source.memory.write(tables.windows[0].root + 8 * slot, far)
        text = "".join(process_text(space, lambda line, _: line))
        assert "note: 1 malformed entry passed over: 0x" in text
        assert json.loads("".join(process_json(space)))["findings"] == 1

    def test_pid(self, image):
        path, parts = image
        done = CliRunner().invoke(main, ["vtop", path, *parts, "--pid", "1", "0x10000000"])
        assert done.exit_code == 0
        assert "present 4 KiB" in done.stdout
        assert CliRunner().invoke(main, ["vtop", path, *parts, "--pid", "4711", "0"]).exit_code == 9
        assert CliRunner().invoke(main, ["map", path, *parts, "--pid", "1", "--root", "0"]).exit_code == 2


class TestVmcoreinfo:
    """VMCOREINFO is lines of `KEY=VALUE`."""

    def test_split(self):
        text = b"OSRELEASE=6.1\nSYMBOL(a)=ffff\nNUMBER(b)=-1\nno line\n=\nNUMBER(c)=0x10\n\0rest=1\n"
        said = Vmcoreinfo(split_vmcoreinfo(text))
        assert said.release == "6.1"
        assert said.symbol("a") == 0xFFFF
        assert [said.number(name) for name in "bcd"] == [(1 << 64) - 1, 16, None]
        assert "rest" not in said.said
