"""``pagewalk live``: text and JSON of a real process, and one line for what cannot be had."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from pagewalk.live import capture, guard_ranges
from pagewalk.live.summary import PARTS
from pagewalk.report.words import printable

COMMAND = [sys.executable, "-c", "from pagewalk.cli import main; main()", "live"]


def run(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)


def shown(*arguments):
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


class TestText:
    def test_a_line_a_vma_and_the_totals(self, child):
        lines = shown(child.pid).splitlines()
        vmas = list(capture(child.pid).vmas)
        assert lines[0].split()[:3] == ["ADDRESSES", "RIGHTS", "SIZE"]
        assert [line.split()[0] for line in lines[1 : len(vmas) + 1]] == [
            f"{vma.start:#014x}-{vma.end:#014x}" for vma in vmas
        ]
        assert lines[len(vmas) + 1] == ""
        assert f"process {child.pid}: {len(vmas)} VMAs" in lines[len(vmas) + 2]
        assert ("not known" in lines[-1]) == bool(os.geteuid())

    def test_what_is_in_a_vma(self, child):
        lines = shown(child.pid).splitlines()
        heads = lines[0].replace("NO RIGHTS", "NO_RIGHTS").split()
        start = child.areas["guards"][0]
        (line,) = [line for line in lines if line.startswith(f"{start:#014x}-")]
        cells = line.replace(" KiB", "K").split()
        row = dict(zip(heads, cells, strict=False))
        assert (row["RIGHTS"], row["SIZE"], row["4K"], row["GUARD"], row["UNTOUCHED"]) == (
            *("rw-p", "64K", "44K", "20K", "-"),
        )

    def test_guards(self, child):
        lines = shown(child.pid, "--guards").splitlines()
        guards = guard_ranges(capture(child.pid))
        assert [line.split()[0] for line in lines[1 : len(guards) + 1]] == [
            f"{start:#014x}-{end:#014x}" for start, end, _ in guards
        ]
        assert f"{len(guards)} guard regions, 32 KiB" in lines[-1 - bool(os.geteuid())]

    def test_the_caller_by_default(self, scanner):
        assert f"process {os.getpid()}: " in shown()

    def test_names_do_not_steer_the_terminal(self):
        assert printable("/tmp/\x1b[31mred\n\udcff é") == "/tmp/\\x1b[31mred\\n\\udcff é"


class TestJson:
    def test_everything(self, child):
        data = json.loads(shown(child.pid, "--json"))
        assert data["pid"] == child.pid
        assert data["complete"] is True
        assert data["changed"] == []
        assert data["frames_known"] == (not os.geteuid())
        for vma in data["vmas"]:
            assert sum(vma[part] for part in PARTS) == vma["end"] - vma["start"]
        assert data["totals"]["size"] == sum(vma["end"] - vma["start"] for vma in data["vmas"])
        ranges = [(guard["start"], guard["end"]) for guard in data["guards"]]
        assert sum(end - start for start, end in ranges) == data["totals"]["guard"] == 8 * 4096
        start = child.areas["guards"][0]
        assert (start + 4 * 4096, start + 8 * 4096) in ranges


class TestErrors:
    @pytest.mark.parametrize(
        ("pid", "code", "words"),
        [
            ((1 << 22) + 1, 9, "no such process"),
            (0, 2, "PID"),
            ("self", 2, "PID"),
        ],
    )
    def test_one_line(self, pid, code, words):
        done = run(pid)
        assert (done.returncode, done.stdout) == (code, "")
        assert len(done.stderr.splitlines()) == 1
        assert words in done.stderr
