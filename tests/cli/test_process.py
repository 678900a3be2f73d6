"""A process as SOURCE of ``map`` and ``vtop``: ``pid:1234``, or a bare number where no such file exists."""

from __future__ import annotations

import json
import os
import sys

import pytest

import pagewalk as pw


@pytest.fixture
def page(process):
    """A page of the process that is there: of its stack."""
    space = pw.capture(process)
    (stack,) = [vma for vma in space.vmas if vma.name == "[stack]"]
    return int(pw.mappings(space, stack.start, stack.end)["vaddr"][-1])


@pytest.fixture(params=["map", "vtop"])
def command(request, process):
    """``source -> arguments`` for both commands."""
    return lambda source, *options: [request.param, source, *options, *["0x1000"] * (request.param == "vtop")]


def notes(done):
    """What is said on standard error."""
    return [line.removeprefix("pagewalk: note: ") for line in done.stderr.splitlines()]


class TestWhich:
    """The output says what a number was taken for."""

    def test_by_name(self, invoke, command, process):
        done = invoke(*command(f"pid:{process}"))
        assert notes(done)[0].startswith(f"process {process} was captured as it runs")

    def test_a_number_that_is_no_file(self, invoke, command, process, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        done = invoke(*command(process))
        assert notes(done)[0].startswith(f"{process} is no file here, so it is process {process}, which was captured")

    def test_a_number_that_is_a_file(self, invoke, command, guest, process, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / str(process)).symlink_to(guest.path)
        done = invoke(*command(process, "--root", hex(guest.root)))
        says = f"note: {process} is taken for the file of that name; the process would be pid:{process}"
        assert says in done.stderr
        assert "captured" not in done.stderr

    def test_json_says_it_too(self, invoke, process):
        said = json.loads(invoke("map", process, "--json", "--limit", 1).stdout)
        assert (said["source"], said["pid"], said["root"], said["format"]) == (
            f"pid:{process}",
            process,
            None,
            "x86-64",
        )
        assert said["frames_known"] == (not os.geteuid())
        assert isinstance(said["notes"], list)


class TestMap:
    def test_rows_are_those_of_a_capture(self, invoke, process):
        rows = pw.mappings(pw.capture(process))
        said = json.loads(invoke("map", f"pid:{process}", "--json").stdout)
        assert [(int(row["vaddr"], 16), row["size"]) for row in said["mappings"]] == rows[["vaddr", "size"]].tolist()
        assert (said["vaddr"], said["size"]) == ("0x0", 1 << 47)

    def test_raw_entries_are_not_shown_since_they_were_made(self, invoke, process):
        said = json.loads(invoke("map", process, "--json", "--pages", "--limit", 5).stdout)
        assert {row["entry"] for row in said["mappings"]} == {None}
        assert "ENTRY" not in invoke("map", process, "--pages").stdout.splitlines()[0]

    def test_the_kernels_half_is_no_hole(self, invoke, process):
        said = json.loads(invoke("map", process, "--json", "--holes").stdout)
        assert max(int(row["vaddr"], 16) + row["size"] for row in said["holes"]) == 1 << 47
        done = invoke("map", process, "--start", "ffff800000000000")
        assert (done.exit_code, done.stdout) == (8, "")
        assert "below 0x800000000000 only" in done.stderr

    def test_frames_that_are_not_known(self, invoke, process, page, monkeypatch):
        """What it looks like without CAP_SYS_ADMIN, on any machine."""
        monkeypatch.setattr("pagewalk.live.leaves._tells_frames", lambda words: False)
        done = invoke("map", process, "--start", hex(page), "--json")
        (row, *_) = json.loads(done.stdout)["mappings"]
        assert row["paddr"] is None
        assert "no_frame" in row["flags"]
        assert any("frame numbers and swap slots are not known" in note for note in notes(done))
        done = invoke("vtop", process, hex(page))
        assert done.stdout.splitlines()[-1].startswith("  -> frame not known  present 4 KiB  rw-u")


class TestVtop:
    def test_what_is_known(self, invoke, process, page):
        done = invoke("vtop", process, hex(page + 5))
        lines = done.stdout.splitlines()
        assert (done.exit_code, lines[0]) == (0, hex(page + 5))
        assert [line.split()[:2] for line in lines[1:5]] == [
            ["PML4", "PGD"],
            ["PDPT", "PUD"],
            ["PD", "PMD"],
            ["PT", "PTE"],
        ]
        assert [line.split()[3] for line in lines[1:5]] == ["table", "table", "table", "present"]
        assert "present 4 KiB  rw-u" in lines[5]

    def test_where_the_made_tables_lie_is_not_said(self, invoke, process, page):
        (said,) = json.loads(invoke("vtop", process, hex(page), "--json").stdout)
        assert [(entry["slot"], entry["entry"]) for entry in said["entries"]] == [(None, None)] * 4
        assert [entry["target"] for entry in said["entries"][:3]] == [None] * 3
        assert "0x4000000" not in invoke("vtop", process, hex(page)).stdout

    def test_the_frame(self, by_root, invoke, process, page):
        (said,) = json.loads(invoke("vtop", process, hex(page + 5), "--json").stdout)
        assert int(said["paddr"], 16) == pw.capture(process).tables.translate(page + 5).paddr

    def test_access(self, invoke, process, page):
        """By which bit is not said: the entries were made."""
        done = invoke("vtop", process, hex(page), "--access", "user-execute")
        assert (done.exit_code, done.stdout.splitlines()[-1]) == (12, "  user-execute: refused by the page's rights")
        done = invoke("vtop", process, hex(page), "--access", "user-write", "--json")
        (said,) = json.loads(done.stdout)
        assert (done.exit_code, said["access"]) == (0, {"asked": "user-write", "allowed": True, "by": []})

    def test_the_kernels_half_is_not_said_to_be_empty(self, invoke, process):
        done = invoke("vtop", process, "ffffffff81000000")
        assert done.exit_code == 4
        assert done.stdout == (
            "0xffffffff81000000\n  -> not known: of a process the kernel shows what lies below 0x800000000000 only\n"
        )

    def test_not_canonical(self, invoke, process):
        assert "not canonical" in invoke("vtop", process, "0x900000000000").stderr


class TestRefused:
    @pytest.mark.parametrize(
        ("source", "options", "code", "says"),
        [
            ("pid:4194305", [], 9, "no such process"),
            ("4194305", [], 9, "4194305 is neither a file here nor a process of this machine"),
            ("pid:", [], 2, "'' is not a PID: write pid:1234"),
            ("pid:self", [], 2, "'self' is not a PID"),
            ("pid:0", [], 2, "'0' is not a PID"),
            ("pid:-1", [], 2, "'-1' is not a PID"),
            ("pid:007", [], 2, "'007' is not a PID"),
            ("pid:0x10", [], 2, "'0x10' is not a PID"),
            ("pid:" + "9" * 5000, [], 2, "is not a PID"),
            ("pid:\u0661", [], 2, "is not a PID"),
            ("pid:1", ["--root", "0"], 2, "takes no --root"),
            ("pid:1", ["--base", "0", "--format", "x86-64"], 2, "takes no --base, --format, as"),
            ("pid:1", ["--segment", "0:0:4K"], 2, "takes no --segment"),
            ("qmp:/nowhere/qmp", [], 10, "/nowhere/qmp: No such file or directory: start QEMU with -qmp unix:PATH"),
            ("gdb:/nowhere/gdb", [], 10, "/nowhere/gdb: No such file or directory: start QEMU with -gdb unix:PATH"),
            ("gdb:localhost:1", [], 10, "localhost:1: Connection refused: start QEMU with -gdb"),
            ("gdb:" + "x" * 200, [], 10, "AF_UNIX path too long"),
            ("qmp:", [], 2, "qmp: names no machine: write qmp:PATH"),
            ("gdb:/run/gdb", ["--base", "4096"], 2, "says itself what it is and where: base contradicts it"),
            ("qmp:/run/qmp", ["--segment", "0:0:4K"], 2, "says itself what it is and where: segments contradicts it"),
        ],
    )
    def test_one_line(self, invoke, command, source, options, code, says):
        done = invoke(*command(source, *options))
        assert (done.exit_code, done.stdout) == (code, "")
        (line,) = done.stderr.splitlines()
        assert says in line

    def test_where_there_is_no_linux(self, invoke, command, monkeypatch):
        monkeypatch.setitem(sys.modules, "pagewalk.live", None)
        done = invoke(*command("pid:1"))
        assert done.exit_code == 8
        assert "on Linux only" in done.stderr

    def test_the_library_says_how(self):
        with pytest.raises(pw.UnsupportedError, match=r"pid:1: a process .* pagewalk.capture\(pid\)"):
            pw.open("pid:1", root=0)
