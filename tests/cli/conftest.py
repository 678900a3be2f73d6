"""The real command line: in a process of its own, or, where that makes no difference, in this one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pagewalk.cli import main
from pagewalk.errors import UnsupportedError
from tests.conftest import skip_or_fail

COMMAND = [sys.executable, "-m", "pagewalk"]


@pytest.fixture(scope="session")
def run():
    """Run ``pagewalk ARGS``; keyword arguments go to ``subprocess.run``."""

    def call(*args, **options):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 60, **options}
        return subprocess.run([*COMMAND, *map(str, args)], check=False, **options)

    return call


@pytest.fixture(scope="session")
def invoke():
    """Run ``pagewalk ARGS`` in this process: quicker, and without its own interpreter's start and end."""

    def call(*args, **options):
        return CliRunner().invoke(main, [str(arg) for arg in args], prog_name="pagewalk", **options)

    return call


@pytest.fixture(scope="session")
def fails(invoke):
    """Run it, see that it prints nothing but one line on standard error, and hand back that line."""

    def call(code, *args):
        done = invoke(*args)
        assert done.exit_code == code, done.stderr
        assert not done.stdout
        assert done.stderr.startswith("pagewalk: ")
        assert done.stderr.count("\n") == 1
        return done.stderr.strip()

    return call


@pytest.fixture(scope="session")
def process():
    """A process to look at, which waits."""
    from pagewalk.live import capture

    with subprocess.Popen(["sleep", "1000"]) as child:
        try:
            capture(child.pid)
            yield child.pid
        except UnsupportedError as error:
            skip_or_fail(str(error))
        finally:
            child.kill()


@pytest.fixture
def by_root():
    """These tests are run by root."""
    if os.geteuid():
        skip_or_fail("needs root: frame numbers")
