"""``pagewalk edit``: a plan, a copy, a change in place, its undo; and what it refuses, in one line each."""

from __future__ import annotations

import json

import pytest

import pagewalk as pw
from tests.editing.bench import Workbench

PAGE = 4096


@pytest.fixture
def image(tmp_path):
    """An image with two pages at 0x800000, its root at 0."""
    bench = Workbench("x86-64")
    with bench.change() as change:
        change.install(bench.base, bench.first_frame, 2 * PAGE, "rw-u")
        change.commit()
    path = tmp_path / "image"
    path.write_bytes(bytes(bench.data))
    return path


FREE = ("--frames", f"{100 * PAGE:#x}:{20 * PAGE}")
PROTECT = "protect 0x800000 4K r--u"


def rights(path) -> str:
    from pagewalk.formats import rights_text

    return rights_text(pw.open(path, root=0).translate(0x800000).flags)


def test_a_dry_run_writes_nothing(invoke, image):
    before = image.read_bytes()
    done = invoke("edit", image, "--root", "0", "--dry-run", PROTECT)
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "words that change: 1; tables added: 0; tables freed: 0"
    assert "rw-u" in lines[1]
    assert "r--u" in lines[1]
    assert lines[-2].strip() == "INVLPG for [0x800000, 0x801000), 1 translation"
    assert lines[-1] == "nothing was written (--dry-run)"
    assert image.read_bytes() == before


def test_a_copy(invoke, image, tmp_path):
    before = image.read_bytes()
    done = invoke("edit", image, "--root", "0", "-o", tmp_path / "copy", PROTECT, "guard 0x900000 8K", *FREE)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"written to {tmp_path / 'copy'}: 3 words"
    assert (rights(tmp_path / "copy"), rights(image)) == ("r--u", "rw-u")
    assert image.read_bytes() == before


def test_in_place_and_undone(invoke, image, tmp_path, fails):
    before, journal = image.read_bytes(), tmp_path / "journal"
    done = invoke("edit", image, "--root", "0", "--write", "--journal", journal, PROTECT)
    assert done.stdout.splitlines()[-1] == f"written: 1 words; pagewalk edit --undo {journal} takes it back"
    assert rights(image) == "r--u"
    done = invoke("edit", "--undo", journal)
    assert (done.exit_code, done.stdout) == (0, "1 words are as they were\n")
    assert image.read_bytes() == before
    assert "it is undone already" in fails(13, "edit", "--undo", journal)
    assert invoke("edit", "--recover", journal).stdout == "nothing had to be done\n"


def test_json(invoke, image, tmp_path):
    done = invoke("edit", image, "--root", "0", "--dry-run", PROTECT, "--json")
    found = json.loads(done.stdout)
    assert found["done"] is None
    assert [word["vaddr"] for word in found["words"]] == ["0x800000"]
    done = invoke("edit", image, "--root", "0", "-o", tmp_path / "copy", PROTECT, "--json")
    assert json.loads(done.stdout)["done"] == {
        "words": 1,
        "flushed": 0,
        "journal": None,
        "to": str(tmp_path / "copy"),
    }


def test_a_script_and_words(invoke, image, tmp_path):
    script = tmp_path / "script.toml"
    script.write_text('[[operation]]\ndo = "unmap"\nvaddr = 0x800000\nsize = 4096\n')
    done = invoke("edit", image, "--root", "0", "--dry-run", "--script", script, "install 0x800000 0x1000 4K r-xu")
    assert done.exit_code == 0, done.stderr
    assert "r-xu" in done.stdout


class TestRefused:
    @pytest.mark.parametrize(
        ("code", "arguments", "why"),
        [
            (13, ("--dry-run", "install 0x800000 0 4K rw-u"), "unmap it first ('install 0x800000 0 4K rw-u')"),
            (13, ("--dry-run", "frob"), "is no operation: there are"),
            (13, ("--dry-run", "protect 0x900000 4K r--u"), "no page is mapped in [0x900000, 0x901000)"),
            (13, ("--dry-run", "protect 0x800000 4K rw"), "are no rights"),
            (6, ("--dry-run", "guard 0x40000000 4K"), "no memory was given for it"),
            (8, ("--dry-run", "mark 0x800000 4K cheese"), "has no marker cheese"),
            (5, ("--dry-run", "unmap 0x800001 4K"), "is not aligned to pages of 0x1000 bytes"),
            (2, (PROTECT,), "one of --dry-run, -o FILE and --write"),
            (2, ("--dry-run", "--write", PROTECT), "one of --dry-run, -o FILE and --write"),
            (2, ("--write", PROTECT), "--write needs --journal FILE"),
            (2, ("--dry-run",), "Nothing is to be done"),
            (2, ("--dry-run", PROTECT, "--undo", "x"), "--undo and --recover stand alone"),
            (10, ("--dry-run", "--script", "/nowhere/script.toml"), "No such file"),
        ],
    )
    def test_what_cannot_be(self, fails, image, code, arguments, why):
        before = image.read_bytes()
        assert why in fails(code, "edit", image, "--root", "0", *arguments)
        assert image.read_bytes() == before

    def test_all_or_nothing(self, fails, image, tmp_path):
        before = image.read_bytes()
        fails(13, "edit", image, "--root", "0", "--write", "--journal", tmp_path / "j", PROTECT, "protect 0 4K r--u")
        assert image.read_bytes() == before
        assert not (tmp_path / "j").exists()

    def test_no_source(self, fails):
        assert "Give a SOURCE" in fails(2, "edit")

    def test_a_process(self, fails, process):
        line = fails(8, "edit", f"pid:{process}", "--dry-run", "unmap 0 4K") if process else ""
        assert not process or "edit none" in line

    def test_compressed(self, fails, image, tmp_path):
        import gzip

        (tmp_path / "image.gz").write_bytes(gzip.compress(image.read_bytes()))
        arguments = ("--root", "0", "--write", "--journal", tmp_path / "j", PROTECT)
        assert "unpack it first" in fails(8, "edit", tmp_path / "image.gz", *arguments)

    def test_journals(self, fails, image, tmp_path):
        (tmp_path / "j").write_text("x")
        assert "no journal of a change" in fails(7, "edit", "--undo", tmp_path / "j")
        arguments = ("--root", "0", "--write", "--journal", tmp_path / "j", PROTECT)
        assert "is there already" in fails(13, "edit", image, *arguments)
        assert "No such file" in fails(10, "edit", "--recover", tmp_path / "none")
