"""Guests for tests: each is booted once, and a test module has those of one architecture.

With ``--dist loadfile`` and two workers there are never more than two guests at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import skip_or_fail
from tests.real.boot import booted
from tests.real.machines import MACHINES
from tests.real.obey import Control
from tests.real.packages import NotToBeHad

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.real.boot import Guest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test with a guest is run on every guest of its module's architecture, by all tables that it has.

    One with both sides of an isolated kernel is run on those that have such.
    """
    machines = [one for one in MACHINES.values() if one.architecture is getattr(metafunc.module, "ARCHITECTURE", None)]
    if "sides" in metafunc.fixturenames:
        names = [machine.name for machine in machines if machine.isolated]
        metafunc.parametrize("vm", names, indirect=True, scope="session")
    if "guest" not in metafunc.fixturenames:
        return
    rows = [(one.name, inside) for one in machines for inside in (False, True)[: 1 + one.isolated]]
    ids = [name + "-kernel" * inside for name, inside in rows]
    metafunc.parametrize(("vm", "guest"), rows, indirect=True, ids=ids, scope="session")


@pytest.fixture(scope="session")
def vm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A guest that stands still."""
    try:
        with booted(MACHINES[request.param], tmp_path_factory.mktemp("vm")) as one:
            yield one
    except NotToBeHad as reason:
        skip_or_fail(f"{request.param} cannot be booted: {reason}")


@pytest.fixture(scope="session")
def guest(request: pytest.FixtureRequest, vm: Guest) -> Guest:
    """A guest that stands still, by the registers that its program has, or an isolated kernel."""
    return vm.inside() if request.param else vm


@pytest.fixture
def control(guest: Guest) -> Iterator[Control]:
    """The guest's page of commands."""
    one = Control(guest)
    yield one
    one.close()
