"""``pagewalk build``: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import json

import pytest

import pagewalk as pw

LAYOUT = """format = "x86-64"

[tables]
base = 0x100000

[[region]]
name = "code"
vaddr = 0x400000
paddr = 0x200000
size = 0x3000
rights = "r-xu"

[[region]]
name = "data"
vaddr = 0x40000000
size = "1G"
rights = "rw--"
"""


@pytest.fixture
def run(invoke):
    """Run the command, and see that it goes well."""

    def call(*args):
        done = invoke(*args)
        assert not done.exit_code, done.stderr
        return done

    return call


@pytest.fixture
def layout(tmp_path):
    path = tmp_path / "layout.toml"
    path.write_text(LAYOUT)
    return str(path)


def test_it_says_what_to_load(run, layout):
    done = run("build", layout, "--check")
    lines = done.stdout.splitlines()
    assert lines[0] == "x86-64: tables in [0x100000, 0x104000), 16 KiB: 1 PGD, 1 PUD, 1 PMD, 1 PTE"
    assert lines[1] == "load: cr0=0x80010001 cr3=0x100000 cr4=0x20 efer=0xd00 pat=0x7040600070406"
    assert lines[3].split() == ["0x000000400000-0x000000403000", "12", "KiB", "0x200000", "r-xu", "code"]
    assert lines[5] == "checked: 1 GiB are mapped as the layout says, and nothing else is"


def test_json(run, layout):
    found = json.loads(run("build", layout, "--json").stdout)
    assert (found["base"], found["size"], found["checked"]) == ("0x100000", 0x4000, False)
    assert found["roots"][0]["registers"]["cr3"] == "0x100000"


def test_files(run, layout, tmp_path):
    wanted = pw.build(layout).data
    for kind in ("bin", "c", "asm", "rust"):
        run("build", layout, "-o", str(tmp_path / kind), "--as", kind, "--name", "boot")
    assert (tmp_path / "bin").read_bytes() == wanted
    for kind in ("c", "asm", "rust"):
        assert "boot" in (tmp_path / kind).read_text().lower()
    run("build", layout, "-o", str(tmp_path / "ram"), "--as", "ram", "--ram", "0:2M")
    assert (tmp_path / "ram").stat().st_size == 2 << 20
    listed = json.loads(run("map", str(tmp_path / "ram"), "--root", "0x100000", "--os", "none", "--json").stdout)
    assert [row["size"] for row in listed["mappings"]] == [0x3000, 1 << 30]


def test_the_same_from_run_to_run(run, layout, tmp_path):
    for name in "ab":
        run("build", layout, "-o", str(tmp_path / name))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_from_an_image_and_built_again(run, guest, tmp_path):
    back = tmp_path / "back.toml"
    source = [str(guest.path), "--root", hex(guest.root)]
    assert run("build", "--from", *source, "--tables", "16M").stdout.startswith('format = "x86-64"\n')
    run("build", "--from", *source, "--tables", "16M", "-o", str(back))
    run("build", str(back), "--check", "-o", str(tmp_path / "tables"))
    form = pw.find_format("x86-64", "none")
    tables = pw.PageTables(pw.FlatMemory([(16 << 20, (tmp_path / "tables").read_bytes())]), 16 << 20, form)
    for row in pw.mappings(guest.tables(), hardware=True)[::50]:
        assert tables.translate(int(row["vaddr"])).paddr == row["paddr"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "give a LAYOUT, or --from SOURCE"),
        (["LAYOUT", "--from", "x"], "give a LAYOUT, or --from SOURCE"),
        (["LAYOUT", "--root", "0"], "--root is an option of --from"),
        (["LAYOUT", "--as", "ram"], "--as ram and --ram PADDR:SIZE go together"),
        (["LAYOUT", "--ram", "0:1M"], "--as ram and --ram PADDR:SIZE go together"),
        (["--from", "x", "--check"], "--from makes a layout"),
        (["LAYOUT", "-o", "x", "--as", "c", "--name", "1"], "'1' is no name in source text"),
    ],
)
def test_options_that_do_not_go_together(fails, words, why, layout):
    assert why in fails(2, "build", *[layout if word == "LAYOUT" else word for word in words])


def test_no_such_file(fails):
    assert fails(10, "build", "/nowhere.toml") == "pagewalk: /nowhere.toml: No such file or directory"
