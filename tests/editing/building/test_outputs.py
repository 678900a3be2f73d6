"""Files that are made of tables: a compiler makes the same bytes of each, and what is to be loaded stands beside."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

import pagewalk as pw
from pagewalk.editing import Layout, Region, build
from pagewalk.editing.building import outputs
from tests.conftest import skip_or_fail

M = 1 << 20
REGIONS = [Region("a", 0, 0x3000, "rwxu"), Region("b", 0x40_0000, 0x1000, "rwxu", paddr=0x1000)]
FORMATS = ("x86-64", "ia32", "pae", "arm64-64k", "riscv-sv39")


def built_in(name: str) -> pw.Built:
    page = pw.find_format(name).page_size
    regions = [region._replace(size=3 * page, paddr=0) for region in REGIONS]
    return build(Layout(format=name, base=M, regions=regions))


def written(built: pw.Built, kind: str, path, name: str = "page_tables"):
    path.write_bytes(b"".join(outputs.output(built, kind, name)))
    return path


def section(compiler: str, source, folder) -> bytes:
    """The bytes of the tables in what a compiler makes of a source."""
    if shutil.which(compiler) is None:
        skip_or_fail(f"no {compiler}")
    made = folder / "made.o"
    subprocess.run([compiler, "-c", "-Wall", "-Werror", str(source), "-o", str(made)], check=True)
    names = subprocess.run(["objdump", "-h", str(made)], check=True, capture_output=True, text=True).stdout
    where = next(name for name in re.findall(r"\.rodata\S*", names))
    subprocess.run(["objcopy", "-O", "binary", "-j", where, str(made), str(folder / "out")], check=True)
    return (folder / "out").read_bytes()


@pytest.mark.parametrize("name", FORMATS)
class TestText:
    @pytest.mark.parametrize(("kind", "suffix"), [("c", "c"), ("asm", "S")])
    def test_a_compiler_makes_the_same_bytes(self, name, kind, suffix, tmp_path):
        built = built_in(name)
        source = written(built, kind, tmp_path / f"tables.{suffix}")
        assert section("gcc", source, tmp_path) == built.data

    def test_rust(self, name, tmp_path):
        """Where there is no compiler, the words that are said are put together."""
        built = built_in(name)
        text = written(built, "rust", tmp_path / "tables.rs", "boot").read_text()
        word = built.layout.format.word
        data = bytearray(built.size)
        for number, value in re.findall(r"words\[(\d+)\] = 0x([0-9a-f]+);", text):
            at = int(number) * word.size
            data[at : at + word.size] = int(value, 16).to_bytes(word.size, "little")
        assert bytes(data) == built.data
        if shutil.which("rustc"):
            program = "fn main() { use std::io::Write; let b: Vec<u8> = BOOT.0.iter().flat_map(|w| w.to_le_bytes()).collect(); std::io::stdout().write_all(&b).unwrap(); }"  # noqa: E501
            (tmp_path / "main.rs").write_text("#![allow(dead_code)]\n" + text + program)
            subprocess.run(["rustc", "-D", "warnings", "main.rs", "-o", "main"], cwd=tmp_path, check=True)
            assert subprocess.run([tmp_path / "main"], check=True, capture_output=True).stdout == built.data

    def test_what_to_load(self, name, tmp_path):
        built = built_in(name)
        said = {"BASE": built.base, "SIZE": built.size} | {
            key.upper(): value for key, value in built.registers().items()
        }
        for kind, form in (
            ("c", r"#define T_(\w+) 0x([0-9a-f]+)ULL"),
            ("asm", r"\.set\tT_(\w+), 0x([0-9a-f]+)"),
            ("rust", r"const T_(\w+): u64 = 0x([0-9a-f]+);"),
        ):
            text = written(built, kind, tmp_path / kind, "t").read_text()
            assert {key: int(value, 16) for key, value in re.findall(form, text)} == said


def test_the_constants_of_several_roots():
    own = [Region(name, 0x1000, 0x1000, "rw-u", root=name) for name in ("init", "a b")]
    found = outputs.constants(build(Layout(format="riscv-sv39", base=M, regions=own)))
    assert found["INIT_SATP"] == 8 << 60 | M >> 12
    assert found["A_B_SATP"] == 8 << 60 | M + 4096 >> 12


def test_ram():
    built = built_in("x86-64")
    ((offset, data),) = outputs.ram(built, 0x8_0000, 2 * M)
    assert (offset, data) == (M - 0x8_0000, built.data)
    with pytest.raises(pw.LayoutError, match=r"the tables, \[0x100000, 0x105000\), are not in the RAM, \[0x0, 0x100000\)"):  # fmt: skip  # noqa: E501
        list(outputs.ram(built, 0, M))


@pytest.mark.parametrize("name", ["", "2x", "a-b", "x; y"])
def test_names_that_are_none(name):
    with pytest.raises(ValueError, match="no name in source text"):
        outputs.output(built_in("x86-64"), "c", name)
    with pytest.raises(ValueError, match="'pdf' is no output: those are bin, c, asm, rust"):
        outputs.output(built_in("x86-64"), "pdf")
