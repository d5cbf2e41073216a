"""Intervals against SciPy's own, and how often they hold."""

import numpy as np
import pytest
from scipy import stats

from jaxbarron.report.statistics import bootstrap, mcnemar, paired_shares, resampled_rows, share


@pytest.mark.parametrize(("count", "of"), [(0, 7), (7, 7), (3, 10), (352, 360), (1, 1)])
def test_shares_are_those_of_clopper_and_pearson(count, of):
    found = share(count, of)
    theirs = stats.binomtest(count, of).proportion_ci(0.95, method="exact")
    assert found.lower == pytest.approx(theirs.low, abs=1e-12)
    assert found.upper == pytest.approx(theirs.high, abs=1e-12)


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (5, 0), (2, 9), (4, 4), (30, 12)])
def test_mcnemar_is_the_binomial_test(lost, won):
    theirs = stats.binomtest(lost, lost + won, 0.5).pvalue if lost + won else 1.0
    assert mcnemar(lost, won) == pytest.approx(theirs, abs=1e-12)


def covered(lower_of, draws=2000):
    rng, of, p, q = np.random.default_rng(0), 60, 0.06, 0.02
    held = 0
    for lost, won, _ in rng.multinomial(of, [p, q, 1 - p - q], draws):
        low, high = lower_of(int(lost), int(won), of)
        held += low <= q - p <= high
    return held / draws


def test_paired_shares_hold_at_least_as_often_as_they_say():
    def ours(lost, won, of):
        found = paired_shares(lost, won, of)
        assert found.lower <= found.estimate == (won - lost) / of <= found.upper
        return found.lower, found.upper

    assert covered(ours) >= 0.95
    # a normal interval from the variance does not, which the count above would show
    assert covered(lambda a, b, n: (
        (b - a) / n - 1.0 * np.sqrt(a + b) / n, (b - a) / n + 1.0 * np.sqrt(a + b) / n
    )) < 0.9  # fmt: skip


def test_the_bootstrap_pairs_its_figures():
    rng = np.random.default_rng(1)
    first = rng.normal(size=200)
    second = first + 0.5 + 0.01 * rng.normal(size=200)
    rows = resampled_rows(200, 300, seed=0)

    def figures(chosen):
        a, b = first[chosen].mean(), second[chosen].mean()
        return a, b, b - a

    one, other, change = bootstrap(figures, rows)
    assert one.upper - one.lower > 0.2
    assert change.upper - change.lower < 0.01
    assert change.lower < 0.5 < change.upper
    assert other.estimate == second.mean()
    # the standard error of a mean, from theory
    assert one.upper - one.lower == pytest.approx(2 * 1.96 * first.std() / 200**0.5, rel=0.25)
