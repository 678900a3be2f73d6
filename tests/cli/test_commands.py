"""What the commands show of a real guest, as text and as JSON."""

import json
import os
import pty
import re
import subprocess
import sys
from importlib.metadata import distribution, version
from itertools import pairwise

import pytest

from pagewalk.formats import NO_PADDR, Flag, Kind
from pagewalk.query import holes, mappings
from pagewalk.report.progress import watched
from pagewalk.report.words import size_text
from tests.cli.conftest import COMMAND

LOW = ["--end", "0x800000000000"]
COMMANDS = ["map", "count", "vtop", "info", "ps", "vmas", "read", "roots", "build", "edit", "live", "conform", "demo"]


@pytest.fixture(scope="module")
def image(guest):
    """The options that name the guest's tables."""
    return [guest.path, "--root", hex(guest.root)]


class TestMap:
    def test_json_is_what_the_query_says(self, run, guest, image):
        done = run("map", *image, "--json", "--holes", "--pages")
        said = json.loads(done.stdout)
        rows, gaps = mappings(guest.tables(), coalesce=False), holes(guest.tables())
        assert (done.returncode, done.stderr, said["findings"]) == (0, "", [])
        assert (said["root"], said["format"], said["vaddr"], said["size"]) == (hex(guest.root), "x86-64", "0x0", None)
        assert said["counts"] == {"mappings": len(rows), "holes": len(gaps), "findings": 0}
        assert [(int(row["vaddr"], 16), row["size"], row["depth"]) for row in said["holes"]] == gaps.tolist()
        assert len(said["mappings"]) == len(rows)
        for row, values in zip(said["mappings"], rows.tolist(), strict=True):
            fields = dict(zip(rows.dtype.names, values, strict=True))
            assert row == fields | {
                "vaddr": hex(fields["vaddr"]),
                "paddr": None if fields["paddr"] == NO_PADDR else hex(fields["paddr"]),
                "flags": [flag.name.lower() for flag in Flag if flag & fields["flags"]],
                "kind": Kind(fields["kind"]).label,
                "entry": hex(fields["entry"]),
            }

    def test_text_has_a_line_for_every_run(self, run, guest, image):
        lines = run("map", *image, *LOW, "--state").stdout.splitlines()
        rows = mappings(guest.tables(), 0, 1 << 47)
        assert lines[0].split() == ["ADDRESSES", "SIZE", "PAGE", "FRAME", "RIGHTS", "KIND", "STATE"]
        starts = [int(line.split("-")[0], 16) for line in lines[1:-2]]
        assert starts == rows["vaddr"].tolist()
        assert lines[-1].startswith(f"{len(rows)} rows: present ")
        assert "guard 36 KiB in 4K" in lines[-1]

    def test_columns_are_aligned(self, run, image):
        lines = run("map", *image, "--holes", "--pages").stdout.splitlines()[:-2]
        at = lines[0].index("KIND")
        kinds = {line[at:].split()[0] for line in lines[1:]}
        assert kinds == {"present", "prot_none", "swap", "guard", "uffd_wp", "hwpoison", "hole"}
        assert {line[at - 1] for line in lines} == {" "}

    def test_holes_stand_between_the_runs(self, run, image):
        lines = run("map", *image, *LOW, "--holes").stdout.splitlines()[1:-2]
        spans = [[int(part, 16) for part in line.split()[0].split("-")] for line in lines]
        assert spans[0][0] == 0
        assert spans[-1][1] == 1 << 47
        assert all(low[1] == high[0] for low, high in pairwise(spans))

    def test_kinds(self, run, image):
        said = json.loads(run("map", *image, "--json", "--kind", "guard", "--kind", "swap").stdout)
        assert {row["kind"] for row in said["mappings"]} == {"guard", "swap"}

    def test_hardware(self, run, image):
        said = json.loads(run("map", *image, "--json", "--hardware").stdout)
        assert {row["kind"] for row in said["mappings"]} == {"present"}

    def test_an_empty_range(self, run, image):
        assert run("map", *image, "--end", "4M").stdout.splitlines()[-1] == "0 rows: nothing is mapped"

    def test_a_range_with_units(self, run, image):
        said = json.loads(run("map", *image, "--json", "--start", "4M", "--end", "0x2000K").stdout)
        assert (said["vaddr"], said["size"]) == ("0x400000", 4 << 20)

    def test_segments_and_base_say_where_the_image_lies(self, run, guest, image, tmp_path):
        shifted = tmp_path / "tail"
        shifted.write_bytes(guest.path.read_bytes()[16 << 20 :])
        whole = run("map", *image, *LOW).stdout
        based = run("map", shifted, *image[1:], *LOW, "--base", "16M").stdout
        segments = "--segment", "16M:0:16M", "--segment", "32M:16M:64M"
        assert run("map", shifted, *image[1:], *LOW, *segments).stdout == based
        *lines, note = based.splitlines()
        assert "outside the image: another kernel version" in note
        for line, full in zip(lines, whole.splitlines(), strict=True):
            same = [cell for cell, other in zip(line.split(), full.split(), strict=True) if cell == other]
            assert len(same) == len(line.split()) - ("outside" in line)
        assert "outside" in based

    def test_a_frame_that_the_image_does_not_have(self, run, guest, image, tmp_path):
        """Printed as ``outside``, without ``--state`` too; JSON has it, and the flag."""
        (tmp_path / "tail").write_bytes(guest.path.read_bytes()[16 << 20 :])
        rest = [tmp_path / "tail", *image[1:], "--base", "16M"]
        found = json.loads(run("map", *rest, "--having", "outside", "--json", *LOW).stdout)["mappings"]
        rows = mappings(guest.tables(), 0, 1 << 47, frames=(0, 16 << 20))
        assert [(int(row["vaddr"], 16), int(row["paddr"], 16)) for row in found] == rows[["vaddr", "paddr"]].tolist()
        (said,) = json.loads(run("vtop", *rest, found[0]["vaddr"], "--json").stdout)
        assert (said["paddr"], "outside" in said["flags"]) == (found[0]["paddr"], True)


class TestVtop:
    def test_every_level_is_shown(self, run, guest, image):
        (huge, *_) = guest.region("hugetlb")
        lines = run("vtop", *image, hex(huge + 0x123)).stdout.splitlines()
        assert lines[0] == hex(huge + 0x123)
        assert [line.split()[:2] for line in lines[1:-1]] == [["PML4", "PGD"], ["PDPT", "PUD"], ["PD", "PMD"]]
        paddr = guest.tables().translate(huge + 0x123).paddr
        assert lines[-1].startswith(f"  -> {paddr:#x}  present 2 MiB  rw-u")

    def test_json(self, run, guest, image):
        vaddr = guest.region("ro_rx")[4]
        (said,) = json.loads(run("vtop", *image, hex(vaddr), "--json").stdout)
        page = guest.tables().translate(vaddr)
        assert (said["vaddr"], said["paddr"]) == (hex(vaddr), hex(page.paddr))
        assert (said["page_size"], said["kind"]) == (4096, "present")
        assert said["flags"] == [flag.name.lower() for flag in Flag if flag in page.flags]
        assert [entry["level"] for entry in said["entries"]] == ["PGD", "PUD", "PMD", "PTE"]
        assert [entry["index"] for entry in said["entries"]] == [vaddr >> shift & 511 for shift in (39, 30, 21, 12)]
        for entry, step in zip(said["entries"], guest.tables().steps(vaddr), strict=True):
            assert (entry["slot"], entry["entry"], entry["target"]) == (
                *map(hex, (step.paddr, step.value, step.target)),
            )

    def test_swap_entries_are_decoded(self, run, guest, image):
        vaddr = guest.region("swapped")[2]
        done = run("vtop", *image, hex(vaddr), "--json")
        (said,) = json.loads(done.stdout)
        assert (done.returncode, said["mapped"], said["paddr"], said["entries"][-1]["holds"]) == (
            4,
            False,
            None,
            "swap",
        )
        slot = said["entries"][-1]["fields"]
        assert slot["swap_type"] | slot["swap_offset"] << 5 == guest.pagemap[vaddr] & (1 << 55) - 1

    def test_hardware_sees_no_prot_none_page(self, run, guest, image):
        vaddr = guest.region("prot_none_touched")[0]
        assert run("vtop", *image, hex(vaddr)).returncode == 0
        assert run("vtop", *image, hex(vaddr), "--hardware").returncode == 4

    def test_five_levels(self, run, tmp_path):
        words = {0x1000: 0x2067, 0x2000: 0x3067, 0x3000: 0x4067, 0x4000: 0x5067, 0x5008: 0x8000_0000_0000_7067}
        image = bytearray(0x8000)
        for at, word in words.items():
            image[at : at + 8] = word.to_bytes(8, "little")
        (tmp_path / "five").write_bytes(image)
        done = run("vtop", tmp_path / "five", "--root", "4K", "--format", "x86-64-la57", "0x1234")
        names = [line.split()[:2] for line in done.stdout.splitlines()[1:-1]]
        assert names == [["PML5", "PGD"], ["PML4", "P4D"], ["PDPT", "PUD"], ["PD", "PMD"], ["PT", "PTE"]]
        assert "-> 0x7234" in done.stdout

    def test_without_numpy(self, image):
        """A single translation is for scripts that call it often."""
        script = (
            "import sys; from pagewalk.cli.group import main\n"
            "try: main(sys.argv[1:])\n"
            "except SystemExit as end: assert not end.code, end.code\n"
            "print(sorted({'numpy', 'rich'} & set(sys.modules)), file=sys.stderr)"
        )
        arguments = [sys.executable, "-c", script, "vtop", *map(str, image), "0x401000"]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert "-> 0x5a3f000" in done.stdout
        assert done.stderr == "[]\n"


class TestGroup:
    def test_help_is_light(self):
        """Nothing heavy is imported, so it answers in under 0.3 s."""
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "pagewalk.cli", "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
        assert "click" in imported
        assert not imported & {"numpy", "rich"}
        assert not re.search(r"pagewalk\.cli\.(map|vtop|live|demo)\b", done.stderr)

    def test_help_names_every_command(self, run):
        done = run("--help")
        assert re.findall(r"^  (\w+)  ", done.stdout.split("Commands:")[1], re.MULTILINE) == COMMANDS

    @pytest.mark.parametrize("command", COMMANDS)
    def test_no_mark_of_clicks_is_left_in_a_help(self, run, command):
        """A docstring that is raw has a backslash and a letter where click looks for one character."""
        assert "\\" not in run(command, "--help").stdout

    @pytest.mark.parametrize("command", ["map", "vtop"])
    def test_each_command_explains_itself(self, run, command):
        done = run(command, "-h")
        assert done.returncode == 0
        for word in ("SOURCE", "--root", "--format", "--base", "--segment", "--json"):
            assert word in done.stdout

    def test_version(self, run):
        assert run("--version").stdout == f"pagewalk {version('pagewalk')}\n"

    def test_help_where_nothing_is_asked(self, run):
        done = run()
        assert (done.returncode, done.stdout, done.stderr) == (0, run("--help").stdout, "")

    @pytest.mark.parametrize(
        "start", [["-m", "pagewalk"], ["-m", "pagewalk.cli"], ["-c", "import _pagewalk; _pagewalk.main()"]]
    )
    def test_it_can_be_started_as(self, start):
        done = subprocess.run([sys.executable, *start, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"pagewalk {version('pagewalk')}\n"

    def test_the_installed_command_begins_outside_the_package(self):
        (script,) = (each for each in distribution("pagewalk").entry_points if each.group == "console_scripts")
        assert (script.name, script.value) == ("pagewalk", "_pagewalk:main")


class TestWords:
    @pytest.mark.parametrize(
        ("size", "text"),
        [(0, "0 bytes"), (4096, "4 KiB"), (12288, "12 KiB"), ((1 << 20) - 1, "1023.9 KiB"), (1 << 47, "128 TiB"),
         (3 << 19, "1.5 MiB"), ((1 << 64) - 1, "15.9 EiB")],
    )  # fmt: skip
    def test_sizes(self, size, text):
        assert size_text(size) == text


class TestTerminal:
    @pytest.mark.parametrize(
        ("environment", "expected"),
        [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False),
         ({"TERM": "dumb", "FORCE_COLOR": "1"}, True), ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False)],
    )  # fmt: skip
    def test_colours_where_they_are_wanted(self, image, environment, expected):
        """On a terminal a guard is red, unless NO_COLOR or a dumb terminal asks otherwise."""
        shown = _in_terminal([*COMMAND, "map", *map(str, image), "--kind", "guard"], environment)
        assert ("\x1b[31m" in shown) == expected
        assert "guard" in shown

    @pytest.mark.parametrize(
        ("environment", "expected"),
        [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": ""}, False),
         ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
    )  # fmt: skip
    def test_colours_elsewhere_only_if_forced(self, run, image, environment, expected):
        done = run("map", *image, "--kind", "guard", env={**_plain_environment(), **environment})
        assert ("\x1b[31m" in done.stdout) == expected

    def test_a_bar_for_what_takes_long(self, tmp_path, monkeypatch):
        """It appears on a terminal, hands everything on, and goes away."""
        monkeypatch.setenv("TERM", "xterm")
        primary, secondary = pty.openpty()
        with os.fdopen(primary, "rb", 0), os.fdopen(secondary, "w") as terminal:
            assert list(watched([(1, "a"), (1, "b")], 2, terminal, patience=0)) == ["a", "b"]
            assert b"writing" in _said(terminal, primary)
            monkeypatch.setenv("TERM", "dumb")
            assert list(watched([(1, "a")], 1, terminal, patience=0)) == ["a"]
            assert _said(terminal, primary) == b""
        with (tmp_path / "log").open("w+") as file:
            assert list(watched([(1, "a")], 1, file, patience=0)) == ["a"]
            assert list(watched([(1, "a")], 1, None, patience=0)) == ["a"]
            assert file.tell() == 0


def _said(terminal, primary):
    """What came over a terminal since this was asked last."""
    print("over", file=terminal, end="", flush=True)
    said = b""
    while not said.endswith(b"over"):
        said += os.read(primary, 65536)
    return said.removesuffix(b"over")


def _plain_environment():
    """The environment with a plain terminal, and no wish about colours."""
    wishes = {"NO_COLOR", "FORCE_COLOR"}
    return {**{name: value for name, value in os.environ.items() if name not in wishes}, "TERM": "xterm"}


def _in_terminal(arguments, environment):
    """What a command shows on a terminal."""
    primary, secondary = pty.openpty()
    environment = {**_plain_environment(), **environment}
    with subprocess.Popen(arguments, stdout=secondary, stderr=secondary, env=environment) as process:
        os.close(secondary)
        shown = b""
        try:
            while part := os.read(primary, 65536):
                shown += part
        except OSError:  # EIO: the other end is closed
            pass
    os.close(primary)
    assert process.returncode == 0
    return shown.decode()
