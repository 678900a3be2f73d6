"""``pagewalk demo``: the model and the running kernel, asked the same."""

import json
import platform

import pytest
from click.testing import CliRunner

from pagewalk.cli.demo import PLAN, Model, demo, look
from pagewalk.errors import UnsupportedError
from tests.conftest import skip_or_fail

BEFORE = ["present" if page in PLAN.touched else "none" for page in range(PLAN.pages)]
AFTER = ["guard" if page in PLAN.guarded else kind for page, kind in enumerate(BEFORE)]


def run(*arguments):
    return CliRunner().invoke(demo, arguments, standalone_mode=False)


def answer():
    result = run("--json")
    assert result.exception is None
    return result.return_value, json.loads(result.stdout)


@pytest.fixture
def without_guards(monkeypatch):
    """A kernel without guard regions."""

    def refuse(*arguments, **options):
        raise OSError(22, "madvise(...): Invalid argument")

    monkeypatch.setattr("pagewalk.live.madvise", refuse)


class TestModel:
    def test_kinds(self):
        _, plain = answer()
        assert plain["model"] == {"before": BEFORE, "after": AFTER}

    def test_the_walk_covers_the_range_once(self):
        model = Model(PLAN)
        leaves = [call for call in look(model.mm, PLAN, model.start) if call.callback in ("pte_entry", "pte_hole")]
        assert [call.first for call in leaves] == [0, *(call.end for call in leaves[:-1])]
        assert leaves[-1].end == PLAN.pages
        assert {call.callback for call in leaves} == {"pte_entry", "pte_hole"}

    def test_the_install_is_told_as_it_happened(self):
        _, plain = answer()
        assert [tuple(step.values()) for step in plain["install"]] == [
            ("install_pte", 4, 5),
            ("zap", 5, 6),
            ("install_pte", 5, 8),
            ("grow", 8, 9),
            ("install_pte", 8, 12),
        ]

    def test_no_frame_is_lost(self):
        model = Model(PLAN)
        before = model.machine.usage()
        model.guard(PLAN)
        after = model.machine.usage()
        assert {use: after[use] - before[use] for use in ("anon", "table", "free")} == {
            "anon": -4096,
            "table": 4096,
            "free": 0,
        }

    def test_the_mapping_is_one_of_the_system_call(self):
        model = Model(PLAN)
        assert model.mm.maps().split()[:2] == [f"{model.start:08x}-{model.start + PLAN.pages * 4096:08x}", "rw-p"]


class TestKernel:
    def test_agrees(self):
        code, plain = answer()
        if plain["kernel"]["why_not"]:
            skip_or_fail(plain["kernel"]["why_not"])
        assert (code, plain["agree"]) == (0, True)
        assert plain["kernel"] == {
            "release": platform.release(),
            "why_not": None,
            "before": BEFORE,
            "after": AFTER,
        }

    def test_a_disagreement_exits_with_1(self, monkeypatch):
        if answer()[1]["kernel"]["why_not"]:
            skip_or_fail("the kernel cannot be asked")
        monkeypatch.setattr(Model, "guard", lambda self, plan: [])
        result = run()
        assert result.return_value == 1
        assert "disagree" in result.stdout

    def test_no_guard_regions(self, without_guards):
        code, plain = answer()
        assert (code, plain["agree"]) == (0, None)
        assert plain["model"] == {"before": BEFORE, "after": AFTER}
        assert "6.13" in plain["kernel"]["why_not"]
        assert "could not be asked" in run().stdout

    def test_not_to_be_captured(self, monkeypatch):
        def refuse():
            raise UnsupportedError("PAGEMAP_SCAN needs Linux 6.7: this kernel does not have it")

        monkeypatch.setattr("pagewalk.live.capture", refuse)
        _, plain = answer()
        assert plain["kernel"]["why_not"].startswith("PAGEMAP_SCAN needs Linux 6.7")


class TestScreen:
    def test_fits(self):
        lines = run().stdout.splitlines()
        assert len(lines) <= 50
        assert max(map(len, lines)) <= 80

    def test_shows_what_matters(self):
        text = run().stdout
        for part in ("pte_hole", "install_pte", "PTE[508-511] guard", "0xfffffffffffff600", platform.release()):
            assert part in text
        assert "\x1b" not in text
