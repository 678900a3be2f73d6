"""``pagewalk live``: text and JSON of a real process, and one line for what cannot be had."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import struct
import subprocess
import sys
import termios
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagewalk.cli import main
from pagewalk.doors import printable
from pagewalk.live import TOTALS, capture, guard_ranges, summarize
from pagewalk.query.areas import MARKS, PARTS, QUALITIES
from pagewalk.report.columns import COLUMNS, Choice, choose, column_of, explain, sort_key
from pagewalk.report.fit import breadth, shorten
from pagewalk.report.layout import Cells, side_by_side
from pagewalk.report.process import guards_text, process_text
from pagewalk.report.process_json import process_json
from tests.live.conftest import Child

COMMAND = [sys.executable, "-c", "from pagewalk.cli import main; main()", "live"]
PAGE = 4096


def run(*arguments):
    """The command, in this process: exit code, and what it wrote."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(["live", *map(str, arguments)])
    return SimpleNamespace(returncode=ended.value.code, stdout=out.getvalue(), stderr=err.getvalue())


def shown(*arguments):
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def table(text):
    """The lines before the table, and those of the table, the headings first."""
    head, _, lines = text.partition("\n\n")
    return head.splitlines(), lines.splitlines()


def on_terminal(columns, *arguments):
    """What a terminal of so many columns shows."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    command = [*COMMAND, *map(str, arguments)]
    child = subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**env, "TERM": "xterm"})
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 65536):
            text += part
    except OSError:
        pass  # the terminal's other end is closed
    os.close(ours)
    assert child.wait() == 0, text
    return text.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def child(scanner):
    """One for all of these: they only look."""
    child = Child(os.geteuid())
    yield child
    child.close()


class TestText:
    def test_the_totals_and_a_line_a_vma(self, child):
        head, lines = table(shown(child.pid))
        vmas = list(capture(child.pid).vmas)
        assert f"process {child.pid}: {len(vmas)} VMAs" in head[0]
        assert ("not known" in head[-1]) == bool(os.geteuid())
        assert lines[0].split()[:3] == ["ADDRESSES", "RIGHTS", "SIZE"]
        assert [line.split()[0] for line in lines[1:]] == [f"{vma.start:#014x}-{vma.end:#014x}" for vma in vmas]

    def test_what_is_in_a_vma(self, child):
        _, lines = table(shown(child.pid))
        heads = lines[0].replace("NO RIGHTS", "NO_RIGHTS").split()
        start = child.areas["guards"][0]
        (line,) = [line for line in lines if line.startswith(f"{start:#014x}-")]
        row = dict(zip(heads, line.split(), strict=False))
        assert (row["RIGHTS"], row["SIZE"], row["4K"], row["GUARD"], row["UNTOUCHED"]) == (
            *("rw-p", "64K", "44K", "20K", "-"),
        )

    def test_userfaultfd_and_poison_have_columns(self, root, child):
        _, lines = table(shown(child.pid))
        heads = lines[0].replace("NO RIGHTS", "NO_RIGHTS").split()
        rows = {line.split()[0].partition("-")[0]: dict(zip(heads, line.split(), strict=False)) for line in lines[1:]}
        protected, poison = (rows[f"{child.areas[name][0]:#014x}"] for name in ("uffd_wp", "poison"))
        assert (protected["4K"], protected["UFFD-WP"], protected["UNTOUCHED"]) == ("12K", "16K", "4K")
        assert (poison["4K"], poison["POISON"], poison["UNTOUCHED"]) == ("4K", "8K", "4K")

    def test_what_the_page_tables_cost(self, child):
        (line,) = [line for line in table(shown(child.pid))[0] if line.startswith("page tables: ")]
        space = capture(child.pid)
        assert "(VmPTE); needed, as computed: 1 PGD, " in line
        needed = [int(count.replace(",", "")) for count in re.findall(r"([\d,]+) P", line.partition("computed")[2])]
        used = len(space.tables.memory.segments[0].data) // PAGE
        assert sum(needed) <= used
        assert sum(needed[1:]) * PAGE <= space.page_table_bytes

    def test_guards(self, child):
        head, lines = table(shown(child.pid, "--guards"))
        guards = guard_ranges(capture(child.pid))
        assert [line.split()[0] for line in lines[1:]] == [f"{start:#014x}-{end:#014x}" for start, end, _ in guards]
        assert f"{len(guards)} guard regions, 32 KiB" in head[0]

    def test_the_caller_by_default(self, scanner):
        done = subprocess.run(COMMAND, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"process {os.getpid()}: ")

    def test_names_do_not_steer_the_terminal(self):
        assert printable("/tmp/\x1b[31mred\n\udcff é") == "/tmp/\\x1b[31mred\\n\\udcff é"

    def test_every_column_is_explained(self):
        text = shown("--help")
        for heading, meaning in explain():
            assert f"  {heading} " in text
            assert meaning.split()[0] in text
        assert "red: has GUARD, yellow: has SWAP, green: has THP" in text
        assert {column.name for column in COLUMNS} <= {*TOTALS.names}
        assert {*PARTS} - {column.name for column in COLUMNS} == {"markers"}, "counted as write-protected"


class TestChoice:
    def test_sort_and_top(self, child):
        head, lines = table(shown(child.pid, "--sort", "4k", "--top", 3))
        space = capture(child.pid)
        totals = summarize(space)
        most = sorted(totals["small"].tolist(), reverse=True)[:3]
        starts = [int(line.split("-")[0], 16) for line in lines[1:]]
        assert [int(totals["small"][totals["start"] == start][0]) for start in starts] == most
        assert f"shown: 3 of {len(totals)} VMAs, by small" in head

    def test_top_alone_is_by_size(self, child):
        _, lines = table(shown(child.pid, "--top", 1))
        assert lines[1].startswith(f"{child.areas['reserved'][0]:#014x}-")

    @pytest.mark.parametrize(("wanted", "field"), [("guard", "guard"), ("GUARD", "guard"), ("no-rights", "prot_none")])
    def test_a_kind(self, child, wanted, field):
        head, lines = table(shown(child.pid, "--filter", wanted))
        totals = summarize(capture(child.pid))
        starts = totals["start"][totals[field] > 0].tolist()
        assert [int(line.split("-")[0], 16) for line in lines[1:]] == starts
        assert any(line.startswith(f"filtered: {len(starts)} VMA") for line in head)

    @pytest.mark.parametrize("pattern", ["stack", "[stack]", "*stack?", "[[]stack]"])
    def test_a_name(self, child, pattern):
        _, lines = table(shown(child.pid, "--filter", pattern))
        assert [line.split()[-1] for line in lines[1:]] == ["[stack]"] * (pattern != "[stack]")

    def test_any_of_several(self, child):
        names = [vma.name for vma in capture(child.pid).vmas]
        _, lines = table(shown(child.pid, "--filter", "[[]stack]", "--filter", "[[]heap]"))
        assert len(lines) - 1 == names.count("[stack]") + names.count("[heap]")

    def test_guards_too(self, child):
        _, lines = table(shown(child.pid, "--guards", "--sort", "guard", "--top", 1))
        start = child.areas["guards"][0]
        assert [line.split()[2].split("-")[0] for line in lines[1:]] == [f"{start:#014x}"] * 2

    def test_nothing_passes(self, child):
        head, lines = table(shown(child.pid, "--filter", "no such file"))
        assert "filtered: 0 VMAs, 0 bytes" in head
        assert len(lines) == 1

    def test_every_heading_is_a_name(self):
        for column in COLUMNS:
            assert column_of(column.heading) == column_of(column.name) == column.name
        assert column_of("uffd") == column_of("UFFD-WP") == "write_protected"
        assert [sort_key(name) for name in ("Address", "SIZE", "name", "vmas")] == ["address", "size", "name", None]


class TestWidth:
    @pytest.mark.parametrize("columns", [120, 80, 20, 3])
    def test_a_terminal(self, child, columns):
        text = re.sub(r"\x1b\[[0-9;?]*m", "", on_terminal(columns, child.pid))
        assert max(map(breadth, text.splitlines())) <= columns
        head, lines = table(text)
        assert len(lines) == len(capture(child.pid).vmas) + 1
        if columns >= 80:
            assert f"process {child.pid}" in head[0]
            assert lines[0].split()[0] == "START"
        assert columns != 80 or "left out, for want of room" in text

    def test_names_keep_their_ends(self, child):
        """They are shortened in the middle: what tells a library from another stands at the end."""
        _, lines = table("".join(process_text(capture(child.pid), lambda line, _: line, width=80)))
        names = [printable(vma.name) for vma in capture(child.pid).vmas]
        assert any("…" in line for line in lines)
        for line, name in zip(lines[1:], names, strict=True):
            assert line.endswith(name[-5:])
            assert "…" not in line[: lines[0].index("NAME")], "numbers stay whole"

    def test_what_has_content_stays_longest(self, child):
        """What people look for goes last; what is not there goes first."""
        text = "".join(process_text(capture(child.pid), lambda line, _: line, width=60))
        heads = table(text)[1][0]
        assert ("GUARD" in heads, "UNTOUCHED" in heads, "SHARED" in heads) == (True, False, False)

    def test_a_pipe_has_everything(self, child):
        names = [vma.name for vma in capture(child.pid).vmas if vma.name]
        text = shown(child.pid)
        assert all(name in text for name in names)
        assert "…" not in text


@pytest.mark.parametrize(("text", "cells"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("é", 1), ("…", 1), ("", 0)])
def test_breadth(text, cells):
    assert breadth(text) == cells


@settings(deadline=None)
@given(st.text(), st.integers(0, 40))
def test_shortened_text_fits(text, width):
    short = shorten(text, width)
    assert breadth(short) <= width
    assert short == text or breadth(text) > width


@settings(deadline=None)
@given(st.data(), st.integers(1, 60))
def test_columns_fit(data, width):
    """Names of any letters, wide ones too; numbers of any length."""
    rows = data.draw(st.integers(0, 4))
    columns = [
        Cells("START", data.draw(st.lists(st.just("0x7ffff7fc1000"), min_size=rows, max_size=rows))),
        *(
            Cells(
                "X" * at, data.draw(st.lists(st.text("0123456789", max_size=9), min_size=rows, max_size=rows)), rank=at
            )
            for at in range(1, data.draw(st.integers(1, 5)))
        ),
        Cells("NAME", data.draw(st.lists(st.text().map(printable), min_size=rows, max_size=rows)), elastic=True),
    ]
    lines, dropped = side_by_side(columns, width)
    assert max(map(breadth, lines)) <= width
    assert len(lines) == rows + 1
    whole, nothing = side_by_side(columns, None)
    assert not nothing
    assert dropped or lines == whole or max(map(breadth, whole)) > width


@pytest.fixture(scope="module")
def captured(child):
    """A capture to show in every way."""
    return capture(child.pid)


CHOICES = st.builds(
    Choice,
    st.lists(st.sampled_from(["guard", "4k", "python", "*.so*", "[", "[heap]", "no such"]), max_size=2).map(tuple),
    st.sampled_from(["address", "size", "name", *(column.name for column in COLUMNS), *QUALITIES, *MARKS]),
    st.none() | st.integers(1, 100),
)


@settings(max_examples=30, deadline=None)
@given(choice=CHOICES, width=st.none() | st.integers(1, 160), data=st.data())
def test_every_choice_at_every_width(captured, choice, width, data):
    """What is shown fits, is what passes, and is in order; JSON says the same."""
    totals = summarize(captured)
    kept, order = choose(captured, totals, choice)
    assert {*order} <= {*kept}
    assert len(order) == min(len(kept), choice.top or len(kept))
    text = "".join(process_text(captured, lambda line, _: line, choice=choice, width=width))
    assert width is None or max(map(breadth, text.splitlines())) <= width
    assert "\x1b" not in text
    assert len(table(text)[1]) == len(order) + 1
    "".join(guards_text(captured, choice=choice, width=width))
    parsed = json.loads("".join(process_json(captured, choice=choice)))
    assert [int(vma["vaddr"], 16) for vma in parsed["vmas"]] == totals["start"][order].tolist()
    assert parsed["filtered"]["vmas"] == len(kept)
    if choice.sort in TOTALS.names:
        figures = [vma[choice.sort] for vma in parsed["vmas"]]
        assert figures == sorted(figures, reverse=True)


class TestJson:
    def test_everything(self, child):
        data = json.loads(shown(child.pid, "--json"))
        assert data["pid"] == child.pid
        assert data["complete"] is True
        assert data["changed"] == []
        assert data["frames_known"] == (not os.geteuid())
        for vma in data["vmas"]:
            assert sum(vma[part] for part in PARTS) == vma["size"]
        assert data["totals"]["size"] == sum(vma["size"] for vma in data["vmas"])
        assert data["totals"]["vmas"] == data["filtered"]["vmas"] == len(data["vmas"])
        assert sum(guard["size"] for guard in data["guards"]) == data["totals"]["guard"] == 8 * PAGE
        start = child.areas["guards"][0]
        assert {"vaddr": hex(start + 4 * PAGE), "size": 4 * PAGE, "vma": hex(start), "name": ""} in data["guards"]
        assert data["page_table_bytes"] > 0
        assert data["tables"]["PGD"] == 1

    def test_addresses_are_text_and_sizes_are_numbers(self, child):
        """No program has to round them; an end, which may be 2**64, is nowhere."""
        data = json.loads(shown(child.pid, "--json"))
        for row in (*data["vmas"], *data["guards"], *data["changed"]):
            assert re.fullmatch("0x[0-9a-f]+", row["vaddr"])
            assert isinstance(row["size"], int)
            assert not {"start", "end"} & {*row}
        for vma in data["vmas"]:
            assert all(isinstance(vma[name], int) for name in (*PARTS, *QUALITIES, *MARKS))

    def test_poison(self, root, child):
        data = json.loads(shown(child.pid, "--json", "--filter", "poison"))
        assert [(vma["vaddr"], vma["poison"]) for vma in data["vmas"]] == [(hex(child.areas["poison"][0]), 2 * PAGE)]
        assert data["filtered"]["poison"] == data["totals"]["poison"] == 2 * PAGE
        assert data["totals"]["write_protected"] == 4 * PAGE
        assert data["totals"]["markers"] == 2 * PAGE


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (((1 << 22) + 1,), 9, "no such process"),
            ((0,), 2, "PID"),
            (("self",), 2, "PID"),
            (("--sort", "gaurd"), 2, "did you mean guard?"),
            (("--sort", "\x1b[31m"), 2, "--help"),
            (("--sort", ""), 2, "column"),
            (("--top", "0"), 2, "--top"),
            (("--top", "-3"), 2, "--top"),
            (("--top", "many"), 2, "--top"),
            (("--filter", ""), 2, "--filter"),
            (("--filter", "gaurd"), 2, "did you mean guard?"),
            (("--filter", "hugtlb", "--json"), 2, "did you mean hugetlb?"),
        ],
    )
    def test_one_line(self, scanner, arguments, code, words):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (code, "")
        assert len(done.stderr.splitlines()) == 1
        assert words in done.stderr
        assert "\x1b" not in done.stderr


WORDS = st.sampled_from(["guard", "4k", "no rights", "Untouched", "gaurd", "name", "1", "0", "-1", "9" * 5000, ""])


@settings(max_examples=40, deadline=None)
@given(option=st.sampled_from(["--sort", "--top", "--filter"]), text=WORDS | st.text())
def test_every_option_takes_or_refuses_anything(child, option, text):
    """An answer, or one line and the exit code for wrong input; nothing that steers a terminal."""
    done = run(child.pid, f"{option}={text}")
    assert done.returncode in (0, 2)
    assert bool(done.stdout) == (done.returncode == 0)
    assert len(done.stderr.splitlines()) == (done.returncode == 2)
    assert (done.stdout + done.stderr).replace("\n", "").isprintable()
