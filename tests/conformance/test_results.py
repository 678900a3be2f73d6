"""A campaign's results in a file: it is gone on with where it ended, with what had agreed still counted."""

import json

import pytest

from pagewalk.conform.campaign.campaign import Campaign
from pagewalk.conform.campaign.crew import run_crew
from pagewalk.conform.campaign.results import Results
from pagewalk.errors import UnsupportedError
from tests.conformance.liar import kernel_and_liar, two_kernels

WHAT = {"steps": 4}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results"


def test_what_was_found_is_known(path):
    results = Results(path, WHAT)
    results.add(range(10, 20), Campaign(agreed=9, inconclusive=[(13, "late")]))
    results.add(range(10), Campaign(agreed=10))
    known = Results(path, WHAT)
    assert known.known(0, 100) == (20, Campaign(19, [(13, "late")]))
    assert known.known(5, 15) == (15, Campaign(9, [(13, "late")]))
    assert known.known(14, 100) == (20, Campaign(6))
    assert known.known(20, 100) == (20, Campaign())
    assert known.known(50, 60) == (50, Campaign())


def test_a_disagreement_is_looked_at_again(path):
    Results(path, WHAT).add(range(10), Campaign(agreed=3, seed=3))
    assert Results(path, WHAT).known(0, 10) == (3, Campaign(3))


def test_a_line_that_is_not_whole_is_struck_off(path):
    Results(path, WHAT).add(range(10), Campaign(agreed=10))
    whole = path.read_text()
    path.write_text(whole + '{"seeds": [10, 2')
    assert Results(path, WHAT).known(0, 30) == (10, Campaign(10))
    assert path.read_text() == whole


@pytest.mark.parametrize("text", ["no JSON\n", '{"sequences": {"steps": 5}}\n'])
def test_results_of_something_else_are_refused(path, text):
    path.write_text(text)
    with pytest.raises(UnsupportedError, match="results"):
        Results(path, WHAT)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_crew_writes_its_results_down_in_order(kernel, path, jobs):
    results = Results(path, WHAT)
    run_crew(jobs, two_kernels, seed=7, sequences=25, make=of_two_steps, record=results.add)
    lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert [line["seeds"] for line in lines] == [[7, 17], [17, 27], [27, 32]]
    seed, known = Results(path, WHAT).known(7, 32)
    assert (seed, known.agreed + len(known.inconclusive)) == (32, 25)


@pytest.mark.slow
def test_a_disagreement_is_written_down(kernel, path):
    results = Results(path, WHAT)
    gave = run_crew(1, kernel_and_liar, seed=3, sequences=200, make=of_nine_steps, record=results.add)
    assert json.loads(path.read_text().splitlines()[-1])["seed"] == gave.seed
    assert Results(path, WHAT).known(3, 203)[0] == gave.seed


def of_two_steps(seed):
    from pagewalk.conform.scenarios.generate import generate

    return generate(seed, 2)


def of_nine_steps(seed):
    from pagewalk.conform.scenarios.generate import generate

    return generate(seed, 9)
