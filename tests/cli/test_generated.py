"""Any command line ends with a code of the table, one line, and nothing that steers a terminal.

The generator draws commands, sources, options and their values: right, nearly right, and hostile. ``live`` and
``conform`` are drawn with values that they refuse, since what they do takes long.
"""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pagewalk.errors
from tests.world import G, K, World

CODES = {0, 2, 10} | {
    kind.exit_code
    for kind in vars(pagewalk.errors).values()
    if isinstance(kind, type) and issubclass(kind, pagewalk.errors.PagewalkError)
}
AT = 0x7000_0000_0000

HOSTILE = [
    "\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\r", "\n", "\t", "\x7f", "\x08", "\u202e", "\u2066", "\u200b", "\ufeff",
    "\u2028", "\udcff", "\udc80\udc81", "\U000e0041", "\\", "'", '"', "$(x)", "%s", "{0}", "[red]", "é", "\u0664", "",
    " ",
]  # fmt: skip
CHARACTERS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3)
TEXT = st.lists(st.sampled_from(HOSTILE) | CHARACTERS).map("".join)
NUMBER = st.one_of(
    st.integers(0, 1 << 65).map(hex),
    st.integers(0, 1 << 65).map("{:x}".format),
    st.integers(-2, 10**20).map(str),
    st.sampled_from(["0", "4K", "1M", "0x1000", "fffff800`12345678", "0xffff_8000_0000_0000", "00401000",
                     "555555554000", "9" * 5000, "0x" + "f" * 5000, "1e3", "+1", " 1", "1_000", "4Q", "0x",
                     hex(AT), "128T"]),
)  # fmt: skip
VALUE = NUMBER | TEXT
NAMES = st.lists(
    st.sampled_from(["present", "guard", "swap", "read", "write", "user", "outside", "repeated", "huge", "Read", ""])
    | TEXT
).map(",".join)
COLONS = st.lists(VALUE | st.sampled_from(["0", "4K"]), min_size=1, max_size=4).map(":".join)
REGISTERS = st.lists(
    st.builds(
        "{}={}".format,
        st.sampled_from(["cr3", "CR0", "cr4", "efer", "satp", "tcr_el1", "ttbr0_el1", "ttbr1_el1", "cr2"]) | TEXT,
        st.integers(0, 1 << 65).map(hex) | VALUE | st.sampled_from(["0x0", "0x80050033", "0x8000000000000000"]),
    )
    | TEXT,
    max_size=4,
).map(",".join)
SWITCHES = ["--hardware", "--holes", "--state", "--pages", "--json", "--help"]


def option(name, values):
    """An option with a value, in either form."""
    return values.flatmap(lambda value: st.sampled_from([[name, value], [f"{name}={value}"]]))


OPTIONS = st.one_of(
    st.sampled_from(SWITCHES).map(lambda switch: [switch]),
    st.sampled_from(["--root", "--base", "--start", "--end", "--limit"]).flatmap(lambda name: option(name, VALUE)),
    st.sampled_from(["--kind", "--having", "--lacking"]).flatmap(lambda name: option(name, NAMES)),
    st.sampled_from(["--frames", "--segment"]).flatmap(lambda name: option(name, COLONS)),
    option("--format", TEXT | st.just("x86-64-la57")),
    option("--registers", REGISTERS),
    option("--os", TEXT | st.sampled_from(["linux-7.2", "none", "windows", "linux-6.1,pte_marker=no"])),
    TEXT.map(lambda text: [f"--{text}"]),
    VALUE.map(lambda value: [value]),
)
MORE = st.lists(OPTIONS, max_size=4).map(lambda parts: [word for part in parts for word in part])
LONG = st.sampled_from([["live"], ["conform", "--seed"], ["conform", "--jobs"]])
REFUSED = TEXT.map(lambda text: f"x{text}")
ANYTHING = st.lists(VALUE, max_size=3)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """What a SOURCE can be: some are images, some are not, some are not there, and some have hostile names."""
    there = tmp_path_factory.mktemp("sources")
    world = World(ram=64 * K)
    for page in range(4):
        world.map(AT + page * 4 * K, page * 4 * K)
    world.put(AT + 1 * G, 1 << 45 | 0x67, depth=3)
    image = bytes(world.memory.segments[0].data)
    hostile = "x\x1b[31my\u202e\udcff\nz"
    for name, contents in {"image": image, hostile: image, "empty": b"", "elf": b"\x7fELF" + image}.items():
        (there / name).write_bytes(contents)
    os.mkfifo(there / "fifo")
    paths = [str(there / name) for name in ("empty", "elf", "fifo", ".", "none", "no\x1b[31m", "n" * 300)]
    return ["image", hostile, *paths, "pid:x\x1b", "pid:4194305", "4194305", "qmp:\x1b", "gdb:\u202e", "", "-"], there


def line_of(draw, sources):
    """A command line."""
    kind = draw(st.sampled_from(["map", "map", "vtop", "vtop", "long", "anything"]))
    if kind == "long":
        return [*draw(LONG), draw(REFUSED)]
    if kind == "anything":
        return draw(ANYTHING)
    root = draw(st.sampled_from([["--root", "0"]] * 4 + [["--root=0"], []]))
    return [kind, draw(st.sampled_from(sources)), *root, *draw(MORE)]


def check(done):
    """What is so of every command line."""
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code in CODES
    lines = done.stderr.split("\n")
    assert lines.pop() == ""
    assert all(line.startswith("pagewalk: ") and line.isprintable() and len(line) < 12_000 for line in lines)
    errors = [line for line in lines if not re.match("pagewalk: (note|warning): ", line)]
    if done.exit_code == 2:
        assert (len(lines), done.stdout) == (1, "")
    if done.exit_code:
        assert len(errors) == 1 or "nothing could be read" in done.stdout or '"findings"' in done.stdout
    else:
        assert not errors
    assert all(line.isprintable() for line in done.stdout.split("\n"))


@given(data=st.data())
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_any_command_line(invoke, sources, monkeypatch, data):
    names, there = sources
    monkeypatch.chdir(there)
    check(invoke(*line_of(data.draw, names)))


HOLDERS = [
    "{}", "map {}", "map image --root {}", "map image --root 0 --format {}", "map image --root 0 --base {}",
    "map image --root 0 --segment {}", "map image --root 0 --segment 0:{}:4K", "map image --root 0 --start {}",
    "map image --root 0 --end {}", "map image --root 0 --kind {}", "map image --root 0 --having {}",
    "map image --root 0 --lacking write,{}", "map image --root 0 --frames {}", "map image --root 0 --frames 0:{}",
    "map image --root 0 --limit {}", "map image --root 0 --{}", "map image --root 0 {}", "map pid:{}", "map qmp:{}",
    "vtop image --root 0 {}", "vtop image --root {} 0", "vtop {} --root 0 0", "live {}", "live --{}",
    "conform --seed {}", "conform --steps {}", "demo {}", "--{}", "-{}",
]  # fmt: skip


@pytest.mark.parametrize("holder", HOLDERS)
def test_each_argument_holding_something_hostile(invoke, sources, monkeypatch, holder):
    monkeypatch.chdir(sources[1])
    for hostile in [
        "\x1b[31mred",
        "\x9b2J\x07",
        "\u202edetrevni",
        "\udcff\udcfe",
        "a\nb\rc",
        "9" * 5000,
        "x" * 5000,
        "\u2066",
    ]:
        done = invoke(*[word.replace("{}", hostile) for word in holder.split()])
        check(done)
        assert done.exit_code
        assert len(done.stderr) < 1500, "names and arguments are shortened"
