"""A layout is checked before anything is built: each mistake is one line that says which region and where."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk.editing import Layout, Region, build
from pagewalk.editing.building.proof import prove
from pagewalk.formats import FORMATS

if TYPE_CHECKING:
    from pathlib import Path

PAGEWALK = [sys.executable, "-c", "from pagewalk.cli import main; main()"]
HEAD = 'format = "x86-64"\n[tables]\nbase = 0x100000\n'
A = '[[region]]\nname = "a"\nvaddr = 0x1000\npaddr = 0x1000\nsize = 0x2000\nrights = "rw-u"\n'
B = '[[region]]\nname = "b"\nvaddr = 0x5000\npaddr = 0x1000\nsize = 0x2000\nrights = "r--u"\n'

WRONG: dict[str, tuple[str | bytes, int, str]] = {
    "not TOML": (HEAD + "size = \n", 7, r"Invalid value \(at line 4, column 8\)"),
    "no UTF-8": (b'format = "\xff"', 7, r":1: no UTF-8"),
    "overlap": (
        HEAD + A + B.replace("0x5000", "0x2000"),
        7,
        r"layout.toml:10: region 'b' \[0x2000, 0x4000\) overlaps region 'a' on line 4, \[0x1000, 0x3000\): move",
    ),
    "one name": (
        HEAD + A + B.replace('"b"', '"a"'),
        7,
        r"layout.toml:10: region 'a' has the name of another, on line 4",
    ),
    "outside": (
        HEAD + B.replace("0x5000", "0x7fffffffe000").replace("0x2000", "0x4000"),
        7,
        (
            r":4: region 'b' \[0x7fffffffe000, 0x800000002000\) is outside the addresses of x86-64, "
            r"which has \[0x0, 0x800000000000\) and"
        ),
    ),
    "misaligned": (
        HEAD + A + B.replace("0x5000", "0x5800"),
        7,
        r":10: region 'b' has the vaddr 0x5800, which is not a multiple of the page size 0x1000",
    ),
    "misaligned frame": (HEAD + B.replace("paddr = 0x1000", "paddr = 8"), 7, r"region 'b' has the paddr 0x8"),
    "no bytes": (HEAD + B.replace("0x2000", "0"), 7, r"region 'b' has no bytes"),
    "too high": (
        HEAD + B.replace("paddr = 0x1000", "paddr = 0xffffffffff000"),
        7,
        r"region 'b' leads to 0xffffffffff000 and on, beyond physical addresses of 52 bits",
    ),
    "identity of the kernel's half": (
        HEAD + B.replace("paddr = 0x1000\n", "").replace("0x5000", "0xffff800000000000"),
        7,
        r"52 bits: give it a paddr",
    ),
    "rights that are none": (HEAD + A + B.replace("r--u", "rxwu"), 7, r":10: region 'b': 'rxwu' are no rights"),
    "rights that cannot be said": (
        HEAD + A + B.replace("r--u", "--x-"),
        8,
        r":10: region 'b': no PTE entry grants --x- alone in this format",
    ),
    "a page size it has not": (
        HEAD + B + 'largest = "64K"\n',
        8,
        r":4: region 'b' asks for pages of 0x10000 bytes: x86-64 has 0x1000, 0x200000, 0x40000000",
    ),
    "a memory type it has not": (
        HEAD + B + 'memory = "device"\n',
        7,
        r":4: region 'b': 'device' is no memory type: x86-64's are WB, WT, UC-, UC",
    ),
    "a memory type's number": (HEAD + B + "memory = 9\n", 8, r"region 'b': PTE entries have no memory type 9"),
    "a state": (
        HEAD + B + 'state = ["clean"]\n',
        7,
        r"region 'b': 'clean' is no state: those are accessed, dirty, global",
    ),
    "bits that mean something": (
        HEAD + B + "set = 2\n",
        7,
        r"region 'b': set 0x2 and clear 0x0 change what the entries say",
    ),
    "tables that do not fit": (
        HEAD + 'size = "8K"\n' + A + B,
        6,
        r"ENOMEM: .*layout.toml: the tables need 0x4000 bytes \(16,384\), and have \[0x100000, 0x102000\)",
    ),
    "far too many tables": (
        HEAD + 'size = "8K"\n' + '[[region]]\nname = "c"\nvaddr = 0\npaddr = 0x1000\nsize = "64T"\nrights = "rw-u"\n',
        6,
        r"the tables need 0x[0-9a-f]+ bytes \([0-9,]+\) at least",
    ),
    "a base that is not aligned": (
        HEAD.replace("0x100000", "0x100800") + A,
        7,
        r"base 0x100800 is not aligned to 0x1000 bytes",
    ),
    "a root too high": (
        A.join(['format = "pae"\n[tables]\nbase = "4G"\n', ""]),
        7,
        r"the root cannot be loaded: cr3 0x100000000 is wider than 32 bits",
    ),
    "a format": ('format = "x86"\n', 8, r"layout.toml: unknown format 'x86'"),
    "no format": (A, 7, r"layout.toml: format is missing"),
    "a key": (HEAD + A + B + "phys = 3\n", 7, r":10: region 'b': unknown key 'phys': known are name, vaddr"),
    "a key nearly": (HEAD + A + B + "largets = 3\n", 7, r"did you mean largest\?"),
    "a key of tables": (HEAD + "bas = 3\n", 7, r"\[tables\]: unknown key 'bas': did you mean base\?"),
    "a missing key": (HEAD + A.replace("size = 0x2000\n", ""), 7, r":4: region 'a': size is missing"),
    "a number": (HEAD + A.replace("0x2000", '"2 pages"'), 7, r":4: region 'a': size: '2 pages' is not a number"),
    "a truth": (HEAD + A.replace("0x2000", "true"), 7, r":4: region 'a': size must be an integer, not True"),
    "a negative number": (
        HEAD + A.replace("vaddr = 0x1000", "vaddr = -4096"),
        7,
        r":4: region 'a': vaddr must not be negative",
    ),
    "a wide number": (
        HEAD + A.replace("vaddr = 0x1000", "vaddr = 0x10000000000000000"),
        7,
        r"vaddr must not be negative, nor wider than 64 bits",
    ),
    "a width": (HEAD + "bits = 39\n", 8, r"the width of x86-64's addresses is not chosen: leave bits out"),
    "an order": (HEAD + 'order = "random"\n', 7, r"order is one of 'levels', 'regions', not 'random'"),
    "a register": (HEAD + "[registers]\nttbr0_el1 = 3\n", 8, r"'ttbr0_el1' is no register to load for x86-64"),
    "a register that says another format": (
        HEAD + "[registers]\ncr4 = 0x1020\n",
        7,
        r"cr4 contradict the format x86-64",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_one_line(what: str, tmp_path: Path) -> None:
    text, code, message = WRONG[what]
    path = tmp_path / "layout.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises((pw.PagewalkError, ValueError), match=message) as found:
        build(path)
    assert isinstance(found.value, pw.PagewalkError)
    assert found.value.exit_code == code
    assert "\n" not in str(found.value)
    assert str(path) in str(found.value)


@pytest.mark.parametrize("what", ["overlap", "not TOML", "tables that do not fit", "rights that cannot be said"])
def test_the_command_says_it_on_one_line(what: str, tmp_path: Path) -> None:
    text, code, _ = WRONG[what]
    path = tmp_path / "layout.toml"
    path.write_text(str(text))
    done = subprocess.run([*PAGEWALK, "build", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("pagewalk: ")
    assert done.stderr.count("\n") == 1


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "layout.toml"
    path.write_text(HEAD + "\n# a comment\n\n" + A + "  [[ region ]]  # with spaces\n" + B.split("\n", 1)[1])
    assert [region.line for region in Layout.read(path).regions] == [7, 13]


def test_regions_in_one_line_have_no_line(tmp_path: Path) -> None:
    path = tmp_path / "layout.toml"
    path.write_text('region = [{vaddr = 0, size = "4K", rights = "rw-u"}, {vaddr = 0, size = "4K", rights = "rw-u"}]\nformat = "x86-64"')  # fmt: skip  # noqa: E501
    with pytest.raises(pw.LayoutError, match=r"layout.toml: region '2' .*overlaps region '1', \[0x0"):
        Layout.read(path)


def test_numbers_are_as_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "layout.toml"
    path.write_text(HEAD + '[[region]]\nname = "a"\nvaddr = "ffffffff81000000"\npaddr = "16M"\nsize = "2M"\nrights = "r-x-"\n')  # fmt: skip  # noqa: E501
    (region,) = Layout.read(path).regions
    assert region[:5] == ("a", 0xFFFF_FFFF_8100_0000, 2 << 20, "r-x-", 16 << 20)


def test_overlaps_between_roots() -> None:
    own = [Region(name, 0x1000, 0x1000, "rw-u", root=name) for name in "ab"]
    Layout(format="x86-64", regions=own)
    with pytest.raises(pw.LayoutError, match=r"region 'c' .* overlaps region 'a'"):
        Layout(format="x86-64", regions=[*own, Region("c", 0, 0x2000, "rw-u")])
    with pytest.raises(pw.LayoutError, match=r"region 'd' .* overlaps region 'b'"):
        Layout(format="x86-64", regions=[*own, Region("d", 0x1000, 0x1000, "rw-u", root="b")])


def test_guards_keep_others_out() -> None:
    regions = [Region(f"stack {at}", at * 0x5000, 0x4000, "rw-u") for at in range(8)]
    regions += [Region(f"guard {at}", at * 0x5000 + 0x4000, 0x1000, "----") for at in range(8)]
    built = build(Layout(format="riscv-sv39", regions=regions, base=1 << 20))
    assert pw.mappings(built.tables())["size"].tolist() == [0x4000] * 8
    with pytest.raises(pw.LayoutError, match=r"'more' .* overlaps region 'guard 3'"):
        Layout(format="riscv-sv39", regions=[*regions, Region("more", 3 * 0x5000 + 0x4000, 0x1000, "rw-u")])


def test_a_layout_and_what_is_built_pickle() -> None:
    layout = Layout(format="x86-64", base=1 << 20, regions=[Region("a", 0, 4096, "rw-u")])
    assert pickle.loads(pickle.dumps(layout)).text() == layout.text()
    assert pickle.loads(pickle.dumps(build(layout))).data == build(layout).data


def test_every_key_is_written_and_read() -> None:
    region = Region(
        "ä \"quoted\" \\ \n", 0x4000_0000, 0x20_0000, "rw-u", paddr=0x20_0000, memory="WT", key=3, kernel="rw-",
        state=("accessed", "global"), largest=0x1000, root="one", repeat=True, set=0x200, clear=0x400,
    )  # fmt: skip
    layout = Layout(
        format="x86-64", regions=[region, Region("b", 0, 0x1000, "----")],
        reserves=[pw.Reserve(0x8000_0000, 0x20_0000, page=0x20_0000)],
        base=0x10_0000, size=0x10_0000, order="regions", root="last", roots=("two", "one"), largest=0x20_0000,
        groups=False, set=0x200, clear=0x40, registers={"pat": 0x0007040600070406},
    )  # fmt: skip
    import tomllib

    again = Layout.of(tomllib.loads(layout.text()))
    assert again.text() == layout.text()
    assert again.regions == layout.regions
    assert build(again).data == build(layout).data


TEXTS = ["4K", "0x1000", "rw-u", "", "x", "1e9", "ffffffff81000000", "\x00", "WB", "first", "levels", "x86-64"]
VALUES = st.one_of(
    st.integers(-(2**70), 2**70),
    st.sampled_from(TEXTS),
    st.sampled_from([0, 4096, 1 << 21, 1 << 30, 1 << 47, (1 << 64) - 4096]),
    st.none() | st.booleans() | st.floats(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(), st.text(), max_size=1),
)
REGION_KEYS = st.sampled_from([*Region._fields[:-1], "page", "phys"])
TABLES_KEYS = st.sampled_from(["base", "size", "bits", "order", "root", "roots", "largest", "groups", "set", "clear"])


class TestWhateverAFileSays:
    """It is built, or refused by an error of pagewalk's own."""

    @given(
        name=st.sampled_from(FORMATS),
        tables=st.dictionaries(TABLES_KEYS, VALUES, max_size=2),
        changes=st.lists(st.dictionaries(REGION_KEYS, VALUES, max_size=2), min_size=1, max_size=3),
        reserve=st.dictionaries(st.sampled_from(["vaddr", "size", "page", "root"]), VALUES, max_size=4),
    )
    def test_no_other_error(self, name, tables, changes, reserve):
        plain = {"vaddr": 0x40_0000, "paddr": 0, "size": 0x1_0000, "rights": "rwxu"}
        regions = [{**plain, "name": f"{at}", **change} for at, change in enumerate(changes)]
        said = {"format": name, "tables": {"base": 1 << 20, "size": 1 << 24, **tables}, "region": regions}
        if reserve:
            said["reserve"] = [reserve]
        with contextlib.suppress(pw.PagewalkError):
            prove(build(said))
