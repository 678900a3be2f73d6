"""JSON that others read without loss: a reader may keep numbers as doubles, and 64-bit words do not fit into those."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from pagewalk import query
from tests.conftest import skip_or_fail
from tests.world import M, World

WORDS = {"vaddr", "paddr", "entry", "root", "target"}
"""Keys of addresses, frames and entries: hex strings, or null."""


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """An image whose entries use all bits: the highest frame, and something malformed."""
    world = World(ram=1 * M)
    world.put(0x7FFF_FFFF_F000, 0xFFEF_FFFF_FFFF_F9FF)
    world.put(0xFFFF_FFFF_FFFF_F000, 0x8000_0000_0000_1003)
    world.put(0x7000_0000_0000, 0xDEAD_BEEF_DEAD_BEEF, depth=3)
    path = tmp_path_factory.mktemp("broken") / "image"
    path.write_bytes(world.memory.segments[0].data)
    return path


@pytest.fixture(params=["map", "registers", "pages", "vtop", "broken map", "broken vtop", "process", "demo"])
def text(request, invoke, guest, broken):
    """The JSON of each command."""
    image, low = [guest.path, "--root", hex(guest.root)], [broken, "--root", "0"]
    if request.param == "process":
        image = [f"pid:{request.getfixturevalue('process')}"]
    commands = {
        "map": ["map", *image, "--holes"],
        "registers": ["map", guest.path, "--registers", f"cr3={guest.root:#x}", "--os", "none"],
        "pages": ["map", *image, "--pages"],
        "vtop": ["vtop", *image, "0x401000", "0x7fedde012345", "ffffffff81000000"],
        "broken map": ["map", *low, "--holes", "--pages"],
        "broken vtop": ["vtop", *low, "0x7fffffffffff", "0xffffffffffffffff", "0x700000000000", "0x900000000000"],
        "process": ["map", *image, "--pages"],
        "demo": ["demo"],
    }
    done = invoke(*commands[request.param], "--json")
    assert not done.exception or isinstance(done.exception, SystemExit)
    return done.stdout


def leaves(value, key=""):
    """Every scalar with its key."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, key)
    else:
        yield key, value


def test_words_are_strings_and_counts_are_numbers(text):
    for key, value in leaves(json.loads(text)):
        if key in WORDS:
            assert value is None or value == hex(int(value, 16)), key
        assert key != "end" or value <= 16, "vaddr and size, never an end, but for the demo's 16 pages"
        if isinstance(value, int):
            assert int(float(value)) == value, key
        else:
            assert not isinstance(value, float), key


def test_a_reader_with_doubles_loses_nothing(text):
    assert json.loads(text, parse_int=lambda digits: int(float(digits))) == json.loads(text)


@pytest.mark.parametrize(
    ("program", "options"),
    [
        ("jq", ["-c", "."]),
        ("node", ["-e", "process.stdout.write(JSON.stringify(JSON.parse(require('fs').readFileSync(0, 'utf8'))))"]),
    ],
)
def test_read_and_written_by(program, options, text):
    if not shutil.which(program):
        skip_or_fail(f"needs {program}")
    done = subprocess.run([program, *options], input=text, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout, parse_int=lambda digits: int(float(digits))) == json.loads(text)


def test_keys_are_the_fields_of_the_arrays(invoke, broken):
    said = json.loads(invoke("map", broken, "--root", "0", "--holes", "--pages", "--json").stdout)
    assert {tuple(sorted(row)) for row in said["mappings"]} == {tuple(sorted(query.PAGE.names))}
    assert {tuple(sorted(row)) for row in said["holes"]} == {tuple(sorted((*query.HOLE.names, "level")))}
    said = json.loads(invoke("map", broken, "--root", "0", "--json").stdout)
    assert {tuple(sorted(row)) for row in said["mappings"]} == {tuple(sorted(query.MAPPING.names))}


def test_no_frame_is_null(invoke, guest):
    said = json.loads(invoke("map", guest.path, "--root", hex(guest.root), "--kind", "guard,swap", "--json").stdout)
    assert {row["paddr"] for row in said["mappings"]} == {None}
