"""Intervals at 95 %: exact ones for shares of independent examples, the bootstrap for the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

__all__ = [
    "LEVEL",
    "Interval",
    "bootstrap",
    "mcnemar",
    "paired_shares",
    "resampled_rows",
    "share",
]

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure with its interval.

    Attributes:
        estimate: the figure.
        lower: the interval's lower end.
        upper: its upper end.
        method: how it was found, and its level.
    """

    estimate: float
    lower: float
    upper: float
    method: str


def share(count: int, of: int, level: float = LEVEL) -> Interval:
    """The interval of Clopper and Pearson for a share: it covers with at least ``level``.

    Source: C. Clopper, E. Pearson, Biometrika 26 (1934), 404-413: the two tails of the binomial
    distribution are inverted, which gives quantiles of the beta distribution.

    Example:
        >>> share(0, 10).lower, round(share(0, 10).upper, 4)
        (0.0, 0.3085)
    """
    alpha = 1 - level
    lower = 0.0 if count == 0 else float(special.betaincinv(count, of - count + 1, alpha / 2))
    upper = 1.0 if count == of else float(special.betaincinv(count + 1, of - count, 1 - alpha / 2))
    return Interval(count / of, lower, upper, f"exact (Clopper-Pearson), {100 * level:g} %")


def paired_shares(lost: int, won: int, of: int, level: float = LEVEL) -> Interval:
    """The change of a share measured twice on the same examples (THEORY.md, Theorem Paired shares).

    Args:
        lost: examples that were right before and are wrong after.
        won: examples that were wrong before and are right after.
        of: all examples.
        level: the interval covers with at least this probability.

    Example:
        >>> found = paired_shares(0, 0, 360)
        >>> found.estimate, round(found.lower, 4), round(found.upper, 4)
        (0.0, -0.0121, 0.0121)
    """
    half = 1 - (1 - level) / 2
    down, up = share(lost, of, half), share(won, of, half)
    return Interval(
        (won - lost) / of,
        up.lower - down.upper,
        up.upper - down.lower,
        f"paired, exact and conservative (both discordant shares at {100 * half:g} %), "
        f"{100 * level:g} %",
    )


def mcnemar(lost: int, won: int) -> float:
    """The exact p-value of McNemar's test: discordant examples go either way alike.

    Source: Q. McNemar, Psychometrika 12 (1947), 153-157; the binomial form.

    Example:
        >>> mcnemar(0, 0), mcnemar(8, 0)
        (1.0, 0.0078125)
    """
    total = lost + won
    return min(1.0, 2 * float(special.bdtr(min(lost, won), total, 0.5))) if total else 1.0


def resampled_rows(of: int, resamples: int, seed: int) -> np.ndarray:
    """Rows drawn with replacement, shape (resamples, of)."""
    return np.random.default_rng(seed).integers(0, of, (resamples, of))


def bootstrap(
    value: Callable[[np.ndarray], tuple[float, ...]],
    rows: np.ndarray,
    level: float = LEVEL,
) -> tuple[Interval, ...]:
    """Percentile intervals of several figures of the same rows, drawn together.

    Args:
        value: the figures on these rows of the data.
        rows: from :func:`resampled_rows`.
        level: of the interval; that it covers so often holds for many examples only.

    Example:
        >>> data = np.arange(50.0)
        >>> rows = resampled_rows(50, 200, seed=0)
        >>> (mean,) = bootstrap(lambda r: (float(data[r].mean()),), rows)
        >>> mean.lower < mean.estimate < mean.upper
        True
    """
    drawn = np.asarray([value(chosen) for chosen in rows])
    ends = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2), axis=0)
    method = f"paired bootstrap of the examples, {len(rows)} resamples, {100 * level:g} %"
    exact = value(np.arange(rows.shape[1]))
    return tuple(
        Interval(figure, float(low), float(high), method)
        for figure, low, high in zip(exact, *ends, strict=True)
    )
