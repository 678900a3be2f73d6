"""The reference kernel on a CPU that this machine may not have: it gives the recorded answers once more.

What the model of that CPU says is held to these answers by ``tests/conformance/test_recorded.py``.
"""

from __future__ import annotations

import json
import lzma
import shutil
import subprocess
import sys

import pytest

from tests.conformance.guest import ROOT
from tests.conftest import skip_or_fail
from tests.guests import DATA
from tests.real import kernels, packages

pytestmark = [pytest.mark.real, pytest.mark.slow]

ANSWERS = DATA / "x86_64-6.18-pku.answers.json.xz"
SECONDS = 500
"""How long all answers may take; under TCG it is one or two minutes."""


def read(path):
    """What a file of answers holds, but the kernel's exact version."""
    plain = json.loads(lzma.decompress(path.read_bytes()))
    return plain["facts"], plain["runs"]


@pytest.fixture(scope="module")
def kernel():
    if shutil.which("qemu-system-x86_64") is None:
        skip_or_fail("qemu-system-x86_64 is not here")
    try:
        return packages.fetch(kernels.X86_64_6_18) / "vmlinuz"
    except packages.NotToBeHad as reason:
        skip_or_fail(f"the kernel cannot be had: {reason}")


def test_protection_keys(kernel, tmp_path):
    """QEMU's own CPU has them."""
    answers = tmp_path / "answers.json.xz"
    asked = ["tests.conformance.recorded", str(ANSWERS), str(answers)]
    words = ["--kernel", str(kernel), "--cpu", "max,la57=off", "--", *asked]
    command = [sys.executable, "-m", "tests.conformance.guest", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    facts, runs = read(answers)
    assert facts["pku"]
    assert (facts, runs) == read(ANSWERS)
