"""``pagewalk map``: what is listed, what is left out, how rows are joined, and that the last line counts right."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

import pagewalk as pw
from pagewalk.cli.map import map as command
from pagewalk.report.rows import AGING
from tests.world import G, K, M, World

RW = pw.Flag.READ | pw.Flag.WRITE | pw.Flag.USER
OLD, DIRTY, SOFT = pw.Flag.ACCESSED, pw.Flag.DIRTY, pw.Flag.SOFT_DIRTY
AT = 0x7000_0000_0000


@pytest.fixture(scope="module")
def image(guest):
    """The options that name the guest's tables."""
    return [guest.path, "--root", hex(guest.root)]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small image: pages that differ in state, a huge page, a page beyond the image, and something malformed."""
    world = World(ram=1 * M)
    for page, state in enumerate((OLD | DIRTY, OLD, 0, OLD | SOFT)):
        world.map(AT + page * 4 * K, 64 * K + page * 4 * K, RW | state)
    world.map(AT + 1 * M, 4 * G, RW)
    world.map(AT + 2 * M, 2 * M, RW, depth=3)
    world.put(AT + 1 * G, 1 << 45 | 0x67, depth=3)
    path = tmp_path_factory.mktemp("small") / "image"
    path.write_bytes(world.memory.segments[0].data)
    return [path, "--root", "0"]


def table(done):
    """The rows of a table, and its last line."""
    assert (done.exit_code, done.exception) == (0, None)
    lines = done.stdout.splitlines()
    at = lines.index("")
    return lines[1:at], lines[at + 1]


def listed(done):
    """The rows as JSON has them."""
    assert (done.exit_code, done.exception) == (0, None)
    return json.loads(done.stdout)["mappings"]


class TestFilters:
    """``--having``, ``--lacking``, ``--kind``, ``--frames`` filter while listing."""

    @pytest.mark.parametrize(
        ("options", "asked"),
        [
            (["--having", "write,user"], {"having": pw.Flag.WRITE | pw.Flag.USER}),
            (["--having", "write", "--having", "user"], {"having": pw.Flag.WRITE | pw.Flag.USER}),
            (["--having", "exec", "--lacking", "user,global"], {"having": 4, "lacking": pw.Flag.USER | pw.Flag.GLOBAL}),
            (["--kind", "swap,guard"], {"kinds": [pw.Kind.SWAP, pw.Kind.GUARD]}),
            (["--kind", "swap", "--hardware"], {"kinds": [pw.Kind.SWAP], "hardware": True}),
            (["--frames", "0x2fc0000:64K"], {"frames": (0x2FC_0000, 0x2FD_0000)}),
            (["--frames", "2fc0018"], {"frames": (0x2FC_0018, 0x2FC_0019)}),
            (["--frames", "0:0x10000000000000000"], {"frames": (0, 1 << 64)}),
        ],
    )
    def test_as_the_query_does(self, invoke, guest, image, options, asked):
        rows = pw.mappings(guest.tables(), findings=[], **asked)
        found = listed(invoke("map", *image, "--json", *options))
        assert [(int(row["vaddr"], 16), row["size"]) for row in found] == rows[["vaddr", "size"]].tolist()

    def test_a_flag_of_rows(self, invoke, image):
        assert listed(invoke("map", *image, "--json", "--having", "repeated")) == [
            row for row in listed(invoke("map", *image, "--json")) if "repeated" in row["flags"]
        ]

    def test_the_help_names_what_there_is(self):
        kinds, flags = re.search(r"between:\n(.*?)\n.*between:\n(.*)\n", command.help, re.DOTALL).groups()
        assert kinds.split() == [
            kind.label for kind in pw.Kind if kind not in (pw.Kind.NONE, pw.Kind.TABLE, pw.Kind.RESERVED)
        ]
        assert flags.split() == [flag.name.lower() for flag in pw.Flag]


class TestJoining:
    """The table joins rows that differ only in accessed and dirty, unless asked; JSON does not."""

    def test_the_table_shows_what_all_have(self, invoke, small):
        rows, _ = table(invoke("map", *small, "--end", hex(AT + 1 * M)))
        assert [line.split()[7:] for line in rows] == [[], ["accessed", "soft_dirty"]]
        assert rows[0].startswith(f"{AT:#x}-{AT + 12 * K:#x}")

    def test_state_keeps_them_apart(self, invoke, small):
        rows, _ = table(invoke("map", *small, "--end", hex(AT + 1 * M), "--state"))
        assert [line.split()[7:] for line in rows] == [
            ["accessed", "dirty"],
            ["accessed"],
            [],
            ["accessed", "soft_dirty"],
        ]

    @pytest.mark.parametrize("options", [[], ["--state"]])
    def test_json_is_never_joined(self, invoke, guest, image, options):
        found = listed(invoke("map", *image, "--json", *options))
        assert len(found) == len(pw.mappings(guest.tables()))

    def test_nothing_gets_lost(self, invoke, guest, image):
        joined, last = table(invoke("map", *image))
        apart, same = table(invoke("map", *image, "--state"))
        rows = pw.mappings(guest.tables())
        assert len(apart) == len(rows) > len(joined)
        assert last.partition(": ")[2] == same.partition(": ")[2]
        sure = [
            (int(line.split("-")[0], 16), line.split()[5 - ("MiB" not in line and "KiB" not in line)])
            for line in joined
        ]
        assert {at for at, _ in sure} <= set(rows["vaddr"].tolist())
        assert int(AGING) == pw.Flag.ACCESSED | pw.Flag.DIRTY | pw.Flag.SAVED_DIRTY


class TestLastLine:
    """Footer counts right: of rows, holes, findings, and of what is not shown."""

    @pytest.mark.parametrize(
        "options", [[], ["--state"], ["--pages"], ["--holes"], ["--kind", "guard"], ["--hardware", "--holes"]]
    )
    @pytest.mark.parametrize("limit", [None, 0, 3, 10**6])
    def test_counts(self, invoke, image, options, limit):
        rows, last = table(invoke("map", *image, *options, *([] if limit is None else ["--limit", limit])))
        everything, _ = table(invoke("map", *image, *options))
        assert rows == everything[:limit]
        kinds = Counter("hole" if " hole " in line else "row" for line in everything)
        head, _, sums = last.partition(": ")
        numbers = {
            what.rstrip("s"): int(count.replace(",", ""))
            for count, what in re.findall(r"([\d,]+) (rows?|holes?)", head)
        }
        assert numbers == {"row": 0} | dict(kinds)
        left = len(everything) - len(rows)
        assert (f"({left:,} more than shown)" in head) == bool(left)
        assert ("holes " in sums) == ("--holes" in options)

    def test_findings(self, invoke, small):
        done = invoke("map", *small)
        rows, last = table(done)
        assert len(rows) == 4
        assert last.startswith("4 rows, 1 finding: present 20 KiB in 4K + 2 MiB in 2M")
        (warning,) = done.stderr.splitlines()
        assert warning.startswith(f"pagewalk: warning: {AT + G:#x}: ")

    def test_json_counts_what_it_leaves_out(self, invoke, image):
        said = json.loads(invoke("map", *image, "--json", "--holes", "--limit", 2).stdout)
        whole = json.loads(invoke("map", *image, "--json", "--holes").stdout)
        assert said["mappings"] == whole["mappings"][:2]
        assert said["holes"] == whole["holes"][:2]
        assert said["counts"] == whole["counts"]
        assert whole["counts"] == {"mappings": len(whole["mappings"]), "holes": len(whole["holes"]), "findings": 0}

    @pytest.mark.parametrize(
        ("options", "says"),
        [([], "0 rows: nothing is mapped"), (["--kind", "guard"], "0 rows: nothing passes the filters"),
         (["--hardware"], "0 rows: nothing passes the filters"),
         (["--holes"], "0 rows, 1 hole: nothing is mapped, holes 4 MiB")],
    )  # fmt: skip
    def test_nothing(self, invoke, image, options, says):
        rows, last = table(invoke("map", *image, "--end", "4M", *options))
        assert last == says
        assert len(rows) == ("--holes" in options)

    def test_nothing_that_could_be_read(self, invoke, small):
        """Where all is malformed, "nothing is mapped" is not so, and the exit code says it."""
        done = invoke("map", *small, "--start", hex(AT + G))
        assert done.exit_code == 4
        assert done.stdout.splitlines()[-1] == "0 rows, 1 finding: nothing could be read"

    def test_many_findings(self, invoke, tmp_path):
        world = World(ram=1 * M)
        for page in range(40):
            world.put(AT + page * 2 * M, (1 << 40) + page * 4096 | 0x67, depth=3)
        path = tmp_path / "image"
        path.write_bytes(world.memory.segments[0].data)
        done = invoke("map", path, "--root", "0")
        warnings = done.stderr.splitlines()
        assert len(warnings) == 21
        assert warnings[19] == "pagewalk: warning: 21 more, which --json lists, up to the last:"
        assert warnings[20].startswith(f"pagewalk: warning: {AT + 39 * 2 * M:#x}: ")
        assert "0 rows, 40 findings: nothing could be read" in done.stdout


class TestWidth:
    def test_low_addresses_have_12_digits(self, invoke, small):
        rows, _ = table(invoke("map", *small))
        assert rows[0].startswith("0x700000000000-0x700000003000 ")

    @pytest.mark.parametrize("options", [[], ["--holes"]])
    def test_columns_stand_one_below_the_other(self, invoke, image, options):
        lines = invoke("map", *image, *options).stdout.splitlines()
        at = lines[0].index("KIND")
        assert {line[at : at + 9].split()[0] for line in lines[1:-2]} <= {kind.label for kind in pw.Kind} | {"hole"}


def test_an_error_comes_before_everything_else(invoke, guest):
    """What cannot be listed at all prints no header."""
    for more in (["--start", "8K", "--end", "4K"], ["--start", "100"], ["--start", "0x900000000000"]):
        for form in ([], ["--json"]):
            done = invoke("map", guest.path, "--root", hex(guest.root), *more, *form)
            assert (done.exit_code in (4, 5), done.stdout) == (True, "")
