"""The pages "your first page tables" do what they say: their stubs boot on what is built."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

import pagewalk as pw
from tests.conftest import skip_or_fail

pytestmark = pytest.mark.real

PAGES = Path(__file__).parent.parent.parent / "docs" / "first-page-tables"


@pytest.mark.parametrize(
    "page", [PAGES / f"{name}.md" for name in ("x86-64", "arm64", "riscv64")], ids=lambda page: page.stem
)
def test_a_stub_boots(page: Path, tmp_path: Path) -> None:
    blocks = dict(re.findall(r"```(\w+)\n(.*?)```", page.read_text(), re.DOTALL))
    (tmp_path / "first.toml").write_text(blocks["toml"])
    (tmp_path / "tables.bin").write_bytes(pw.build(tmp_path / "first.toml").data)
    (tmp_path / "stub.S").write_text(blocks["asm"])
    compile_, run = (shlex.split(line) for line in blocks["sh"].replace("\\\n", " ").splitlines())
    for tool in (compile_[0], run[0]):
        if shutil.which(tool) is None:
            skip_or_fail(f"no {tool}")
    subprocess.run(compile_, cwd=tmp_path, check=True)
    with subprocess.Popen(run, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as machine:
        clock = threading.Timer(60, machine.kill)
        clock.start()
        try:
            assert machine.stdout is not None
            assert machine.stdout.read(22) == b"on my own page tables\n"
        finally:
            clock.cancel()
            machine.kill()
