"""Operations as words and from files; all of them, or none."""

from __future__ import annotations

import inspect
import json

import pytest

import pagewalk as pw
from pagewalk.editing.script import OPERATIONS, Operation, parsed, perform, read_script
from pagewalk.numbers import parse
from tests.editing.bench import Workbench, said


def number(text: str) -> int:
    return parse(text, address=False)


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_a_method_with_these_arguments(name):
    shape, method = OPERATIONS[name], inspect.signature(getattr(pw.Change, name)).parameters
    assert list(method)[1 : 1 + len(shape.needed)] == list(shape.needed)
    assert set(shape.options) <= {one.name for one in method.values() if one.kind is one.KEYWORD_ONLY}


def test_words():
    found = parsed("install 0x400000 1M 4K rw-u page_size=4K memory=1", number)
    assert found.name == "install"
    assert found.arguments == {
        "vaddr": 0x400000,
        "paddr": 1 << 20,
        "size": 4096,
        "rights": "rw-u",
        "page_size": 4096,
        "memory": 1,
    }
    assert parsed("unmap 0 4K split free_tables=no", number).arguments == {
        "vaddr": 0,
        "size": 4096,
        "split": True,
        "free_tables": False,
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no operation"),
        ("'", "is no operation"),
        ("frob 1 2", "'frob' is no operation: there are install"),
        ("unmap 1", "unmap takes unmap VADDR SIZE"),
        ("unmap 1 2 3", "unmap takes unmap VADDR SIZE"),
        ("unmap x 4K", "vaddr is a number, not 'x'"),
        ("unmap 0 4K fast=yes", "unmap has no 'fast'"),
        ("unmap 0 4K split=perhaps", "split is yes or no"),
        ("guard 0 4K split", "guard has no 'split'"),
    ],
)
def test_words_that_are_none(text, why):
    with pytest.raises(pw.EditError, match=why):
        parsed(text, number)


TOML = """
[[operation]]
do = "install"
vaddr = 0x800000
paddr = "2M"
size = 4096
rights = "rw-u"

[[operation]]
do = "guard"
vaddr = "0x801000"
size = "8K"
"""


class TestFiles:
    def test_toml_and_json_say_the_same(self, tmp_path):
        toml, other = tmp_path / "script.toml", tmp_path / "script.json"
        toml.write_text(TOML)
        table = {"do": "install", "vaddr": 0x800000, "paddr": "2M", "size": 4096, "rights": "rw-u"}
        guard = {"do": "guard", "vaddr": "0x801000", "size": "8K"}
        other.write_text(json.dumps({"operation": [table, guard]}))
        first, second = (read_script(path, number) for path in (toml, other))
        assert [one[:2] for one in first] == [one[:2] for one in second]
        bench = Workbench("x86-64")
        change = bench.change()
        perform(change, first)
        assert [said(change.tables, 0x800000 + at * 4096) for at in range(3)] == [(2 << 20, "rw-u"), "guard", "guard"]

    @pytest.mark.parametrize(
        ("text", "kind", "why"),
        [
            ("[[operation]\n", pw.ImageFormatError, r"script.toml: .*line 1, column"),
            ("operation = 5", pw.EditError, "a list 'operation' of tables is needed"),
            ("[[operation]]\ndo = 'unmap'\nvaddr = 0", pw.EditError, "operation 1: unmap needs size"),
            ("[[operation]]\nvaddr = 0", pw.EditError, "operation 1: None is no operation"),
            ("[[operation]]\ndo = 'unmap'\nvaddr = 0.5\nsize = 1", pw.EditError, "vaddr is a number, not 0.5"),
            ("[[operation]]\ndo = 'unmap'\nvaddr = true\nsize = 1", pw.EditError, "vaddr is a number, not True"),
            ("[[operation]]\ndo='mark'\nvaddr=0\nsize=1\nname=7", pw.EditError, "name is text, not 7"),
            ("[[operation]]\ndo='unmap'\nvaddr=0\nsize=1\n[more]", pw.EditError, "and nothing else"),
        ],
    )
    def test_files_that_are_none(self, text, kind, why, tmp_path):
        (tmp_path / "script.toml").write_text(text)
        with pytest.raises(kind, match=why):
            read_script(tmp_path / "script.toml", number)

    def test_bytes_that_are_no_text(self, tmp_path):
        (tmp_path / "script.toml").write_bytes(b"\xff\xfe")
        with pytest.raises(pw.ImageFormatError, match="utf-8"):
            read_script(tmp_path / "script.toml", number)


def test_what_fails_says_which_it_was():
    bench = Workbench("x86-64")
    todo = [parsed("guard 0x800000 4K", number), parsed("install 0x800000 0 4K rw-u", number)]
    with pytest.raises(pw.AlreadyMapped) as error:
        perform(bench.change(), todo)
    assert error.value.__notes__ == ["'install 0x800000 0 4K rw-u'"]
    with pytest.raises(pw.EditError, match="here: 'rw' are no rights"):
        perform(bench.change(), [Operation("protect", {"vaddr": 0, "size": 4096, "rights": "rw"}, "here")])
