"""Before and after: what a switch did to a model's outputs, its accuracy and its latency.

What is found here is *observed* on the caller's data and machine (level ``sampled``); the bound
that holds everywhere is the certificate's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from jaxbarron.errors import NonFiniteError, ShapeError, UsageError

__all__ = [
    "ACCURACY_RULE",
    "LATENCY_RULE",
    "Comparison",
    "LatencyRatio",
    "Verdict",
    "compare_models",
    "judge",
    "paired_latency",
]

# The verdict's two thresholds.  Half a point of accuracy is the usual scatter between two seeds of
# a small classifier; a tenth of latency is what the factored form is built to stay within.
ACCURACY_RULE = 0.005
LATENCY_RULE = 1.1


@dataclass(frozen=True)
class Comparison:
    """Two classifiers on the same labelled data.

    Attributes:
        examples: number of examples n.
        accuracy_before: share of the n labels that the first model predicts.
        accuracy_after: the same for the second.
        largest_change: the largest ``|logit after - logit before|`` observed.
        largest_logit: the largest ``|logit before|``, to see that change in proportion.
        changed: the number of examples whose predicted class differs.
    """

    examples: int
    accuracy_before: float
    accuracy_after: float
    largest_change: float
    largest_logit: float
    changed: int

    @property
    def changed_share(self) -> float:
        """The share of predictions that changed."""
        return self.changed / self.examples

    @property
    def accuracy_lost(self) -> float:
        """Accuracy before less accuracy after; negative where it rose."""
        return self.accuracy_before - self.accuracy_after


@dataclass(frozen=True)
class LatencyRatio:
    """The ratio of two functions' running times, from pairs measured in alternation.

    Attributes:
        median: the median of the paired ratios, second over first.
        lower_quartile: 25 % of the paired ratios lie below.
        upper_quartile: 25 % of them lie above.
        before_seconds: median seconds for one call of the first function.
        after_seconds: the same for the second.
        pairs: how many pairs were measured.
    """

    median: float
    lower_quartile: float
    upper_quartile: float
    before_seconds: float
    after_seconds: float
    pairs: int


@dataclass(frozen=True)
class Verdict:
    """What follows from the figures, in words.

    Attributes:
        outcome: ``"switch"``, ``"switch at a cost"``, ``"fine-tune"`` or ``"do not switch"``.
        text: one sentence with the reason.
        rule: the rule that was applied, with its thresholds.
    """

    outcome: str
    text: str
    rule: str


def compare_models(
    before: Callable[[Any], Any],
    after: Callable[[Any], Any],
    x: Float[Array | np.ndarray, "n ..."],
    y: Int[Array | np.ndarray, " n"],
) -> Comparison:
    """Two classifiers side by side on labelled data.

    Args:
        before: maps ``x`` to logits, shape (n, classes).
        after: the same for the other model.
        x: examples.
        y: labels, whole numbers in [0, classes).

    Raises:
        ShapeError: no example, or logits and labels do not fit each other.
        NonFiniteError: a logit is NaN or infinite.

    Example:
        >>> x, y = np.eye(3), np.arange(3)
        >>> compare_models(lambda x: x, lambda x: x + 0.25, x, y).largest_change
        0.25
    """
    first, second, labels = (np.asarray(a) for a in (before(x), after(x), y))
    if first.ndim != 2 or first.shape != second.shape or labels.shape != first.shape[:1]:
        raise ShapeError(
            f"given: logits of shapes {first.shape} and {second.shape} for labels of shape "
            f"{labels.shape}; expected: (n, classes) twice and (n,); do: flatten to one row of "
            "logits for each example"
        )
    if labels.size == 0:
        raise ShapeError("given: no example; expected: at least one; do: pass validation data")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise NonFiniteError(
            "given: a model whose logits hold NaN or infinity; expected: finite logits; do: look "
            "at the model on this data before switching it"
        )
    first, second = first.astype(np.float64), second.astype(np.float64)
    chosen, chosen_after = first.argmax(1), second.argmax(1)
    return Comparison(
        examples=int(labels.size),
        accuracy_before=float(np.mean(chosen == labels)),
        accuracy_after=float(np.mean(chosen_after == labels)),
        largest_change=float(np.abs(second - first).max()),
        largest_logit=float(np.abs(first).max()),
        changed=int(np.sum(chosen != chosen_after)),
    )


def paired_latency(
    before: Callable[..., Any],
    after: Callable[..., Any],
    *args: Any,
    pairs: int = 21,
    floor_seconds: float = 2e-3,
    progress: Callable[[int, int], None] | None = None,
) -> LatencyRatio:
    """How much longer ``after(*args)`` takes than ``before(*args)``, measured in alternation.

    Each pair runs both functions back to back, the order swapped from pair to pair, so that a
    machine that slows down or is shared slows both alike; the ratio is taken within the pair.
    Both are called as they are: pass jitted functions.  They are run twice before the clock starts.

    Args:
        before: the reference.
        after: what is held against it.
        args: arguments for both.
        pairs: how many pairs.
        floor_seconds: calls are repeated within one measurement until it lasts this long, so that
            the clock's grain and the dispatch do not show.
        progress: called with (pairs done, pairs) after each.

    Raises:
        UsageError: ``pairs`` is below 1.

    Example:
        >>> f = jax.jit(lambda x: x + 1)
        >>> paired_latency(f, f, np.ones(8), pairs=3).pairs
        3
    """
    if pairs < 1:
        raise UsageError(f"given: pairs={pairs}; expected: at least 1; do: e.g. pairs=21")

    def seconds(fn: Callable[..., Any], calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            jax.block_until_ready(fn(*args))
        return (time.perf_counter() - start) / calls

    quickest = math.inf
    for fn in (before, after):
        seconds(fn, 1)
        quickest = min(quickest, seconds(fn, 1))
    calls = max(1, math.ceil(floor_seconds / max(quickest, 1e-7)))
    times: list[tuple[float, float]] = []
    for pair in range(pairs):
        if pair % 2:
            second = seconds(after, calls)
            times.append((seconds(before, calls), second))
        else:
            first = seconds(before, calls)
            times.append((first, seconds(after, calls)))
        if progress is not None:
            progress(pair + 1, pairs)
    table = np.asarray(times)
    low, median, high = np.quantile(table[:, 1] / table[:, 0], (0.25, 0.5, 0.75))
    one, other = np.median(table, axis=0)
    return LatencyRatio(float(median), float(low), float(high), float(one), float(other), pairs)


def judge(
    comparison: Comparison,
    latency: LatencyRatio,
    errors: Sequence[float],
    levels: Sequence[str],
    tol: float | None = None,
) -> Verdict:
    """The verdict on a switch, by a rule that is stated with it.

    Args:
        comparison: accuracy before and after.
        latency: the ratio after over before.
        errors: the certified error of each site's kernel.
        levels: the level of each certificate.
        tol: the tolerance asked for at each site, if one was.

    Example:
        >>> same = Comparison(100, 0.97, 0.97, 1e-3, 9.0, 0)
        >>> judge(same, LatencyRatio(1.0, 0.9, 1.1, 1e-3, 1e-3, 9), [1e-4], ["rigorous"]).outcome
        'switch'
    """
    rule = (
        "certificates rigorous"
        + ("" if tol is None else f" and within {tol:g}")
        + f", accuracy lost <= {100 * ACCURACY_RULE:g} points, latency ratio <= {LATENCY_RULE:g}"
    )
    lost = 100 * comparison.accuracy_lost
    if not all(level == "rigorous" for level in levels):
        return Verdict("do not switch", "a site's error is not rigorously certified", rule)
    if not all(math.isfinite(e) and (tol is None or e <= tol) for e in errors):
        return Verdict("do not switch", "a site's certified error exceeds the tolerance", rule)
    if comparison.accuracy_lost > ACCURACY_RULE:
        text = f"validation accuracy falls by {lost:.2f} points: fine-tune, or lower the tolerance"
        return Verdict("fine-tune", text, rule)
    kept = "accuracy is kept" if lost <= 0 else f"accuracy falls by {lost:.2f} points only"
    if latency.median > LATENCY_RULE:
        text = f"{kept}, but a call takes {latency.median:.2f} times as long"
        return Verdict("switch at a cost", text, rule)
    return Verdict("switch", f"{kept}, and so is the latency (ratio {latency.median:.2f})", rule)
