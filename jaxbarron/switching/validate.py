"""Before and after: what a switch did to a model's outputs, its metric and its latency.

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
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbarron.errors import DtypeError, NonFiniteError, ShapeError, UsageError
from jaxbarron.switching.metrics import ACCURACY, Metric, check_labels, metric_value

__all__ = [
    "ACCURACY_RULE",
    "LATENCY_RULE",
    "METRIC_RULE",
    "Comparison",
    "LatencyRatio",
    "Verdict",
    "compare_models",
    "compare_outputs",
    "judge",
    "model_outputs",
    "paired_latency",
]

# The verdict's thresholds.  Half a point of accuracy is the usual scatter between two seeds of a
# small classifier; of another metric, whose unit is not known, a hundredth of its value; a tenth of
# latency is what the factored form is built to stay within.
ACCURACY_RULE = 0.005
METRIC_RULE = 0.01
LATENCY_RULE = 1.1


@dataclass(frozen=True)
class Comparison:
    """Two models on the same labelled data.

    Attributes:
        examples: number of labels: of examples, or of their positions where each has its own.
        before: the metric of the first model.
        after: the metric of the second.
        largest_change: the largest ``|output after - output before|`` observed.
        largest_output: the largest ``|output before|``, to see that change in proportion.
        changed: the number of labels whose predicted class differs; None where the labels are no
            classes.
        metric: the metric.
    """

    examples: int
    before: float
    after: float
    largest_change: float
    largest_output: float
    changed: int | None
    metric: Metric = ACCURACY

    @property
    def changed_share(self) -> float | None:
        """The share of predictions that changed."""
        return None if self.changed is None else self.changed / self.examples

    @property
    def lost(self) -> float:
        """By how much the metric got worse, in its own unit; negative where it got better."""
        return self.metric.lost(self.before, self.after)


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


def model_outputs(
    fn: Callable[[Any], Any], x: Float[Array | np.ndarray, "n ..."], batch_size: int | None = None
) -> np.ndarray:
    """The outputs ``fn(x)``, batch by batch, in double precision.

    Every batch has ``batch_size`` rows, the last one too, which reaches back for them: one shape,
    one compilation.

    Raises:
        UsageError: ``batch_size`` is below 1.
        ShapeError: there is no example, or the outputs are not one array with a row for each.
        DtypeError: the outputs are complex.
        NonFiniteError: an output is NaN or infinite.

    Example:
        >>> model_outputs(lambda x: 2 * x, np.arange(5.0)[:, None], batch_size=2)[:, 0].tolist()
        [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    count = len(x)
    size = count if batch_size is None else min(batch_size, count)
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"given: batch_size={batch_size}; expected: at least 1; do: e.g. 256")
    if count == 0:
        raise ShapeError("given: no example; expected: at least one; do: pass validation data")
    rows: list[np.ndarray] = []
    for start in range(0, count, size):
        first = min(start, count - size)
        outputs: Any = fn(x[first : first + size])
        if not (hasattr(outputs, "shape") and outputs.shape[:1] == (size,)):
            found = getattr(outputs, "shape", type(outputs).__name__)
            raise ShapeError(
                f"given: outputs {found} for {size} examples; expected: one array with a row for "
                "each example; do: pick one output, and put the examples on the first axis"
            )
        if jnp.issubdtype(outputs.dtype, jnp.complexfloating):
            raise DtypeError(
                f"given: outputs of dtype {outputs.dtype}; expected: real numbers; do: return the "
                "real part, the modulus or both parts"
            )
        rows.append(np.asarray(outputs).astype(np.float64)[start - first :])
    outputs = np.concatenate(rows)
    broken = ~np.isfinite(outputs).reshape(count, -1).all(1)
    if broken.any():
        raise NonFiniteError(
            f"given: a model whose outputs hold NaN or infinity for {int(broken.sum())} of {count} "
            f"examples, the first of them number {int(broken.argmax())}; expected: finite outputs; "
            "do: look at the model on this data before switching it"
        )
    return outputs


def compare_outputs(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, metric: Metric = ACCURACY
) -> Comparison:
    """Two models' outputs side by side.

    Raises:
        ShapeError, DtypeError, UsageError, NonFiniteError: outputs and labels do not fit each
            other, or the metric fails; see :func:`~jaxbarron.switching.metrics.check_labels` and
            :func:`~jaxbarron.switching.metrics.metric_value`.

    Example:
        >>> compare_outputs(np.eye(3), np.eye(3) + 0.25, np.arange(3)).largest_change
        0.25
    """
    if first.shape != second.shape:
        raise ShapeError(
            f"given: outputs of shapes {first.shape} and {second.shape}; expected: one shape; do: "
            "compare models of the same outputs"
        )
    check_labels(metric, first.shape, labels)
    # a metric of the user's may be one of classes too
    whole = labels.dtype.kind in "iu" and metric.labels != "values"
    classes = whole and first.shape[:-1] == labels.shape
    return Comparison(
        examples=labels.size if classes else len(first),
        before=metric_value(metric, first, labels),
        after=metric_value(metric, second, labels),
        largest_change=float(np.abs(second - first).max()),
        largest_output=float(np.abs(first).max()),
        changed=int(np.sum(first.argmax(-1) != second.argmax(-1))) if classes else None,
        metric=metric,
    )


def compare_models(
    before: Callable[[Any], Any],
    after: Callable[[Any], Any],
    x: Float[Array | np.ndarray, "n ..."],
    y: Array | np.ndarray,
    metric: Metric = ACCURACY,
    *,
    batch_size: int | None = None,
) -> Comparison:
    """Two models side by side on labelled data.

    Args:
        before: maps ``x`` to outputs, one row for each example; for accuracy logits.
        after: the same for the other model.
        x: examples.
        y: labels; for accuracy whole numbers in [0, classes).
        metric: what is measured.
        batch_size: how many examples at once; None: all.

    Raises:
        ShapeError, DtypeError, UsageError, NonFiniteError: those of :func:`model_outputs` and
            :func:`compare_outputs`.

    Example:
        >>> x, y = np.eye(3), np.arange(3)
        >>> compare_models(lambda x: x, lambda x: x + 0.25, x, y).largest_change
        0.25
    """
    first, second = (model_outputs(fn, x, batch_size) for fn in (before, after))
    return compare_outputs(first, second, np.asarray(y), metric)


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
    max_loss: float | None = None,
) -> Verdict:
    """The verdict on a switch, by a rule that is stated with it.

    Args:
        comparison: the metric before and after.
        latency: the ratio after over before.
        errors: the certified error of each site's kernel.
        levels: the level of each certificate.
        tol: the tolerance asked for at each site, if one was.
        max_loss: how much worse the metric may get, in its own unit; None: ``ACCURACY_RULE`` for
            accuracy, and ``METRIC_RULE`` of the value before for every other metric.

    Example:
        >>> same = Comparison(100, 0.97, 0.97, 1e-3, 9.0, 0)
        >>> judge(same, LatencyRatio(1.0, 0.9, 1.1, 1e-3, 1e-3, 9), [1e-4], ["rigorous"]).outcome
        'switch'
    """
    metric, lost = comparison.metric, comparison.lost
    allowed = max_loss
    if allowed is None:
        of_accuracy = metric == ACCURACY
        allowed = ACCURACY_RULE if of_accuracy else METRIC_RULE * abs(comparison.before)
    rule = (
        "certificates rigorous"
        + ("" if tol is None else f" and within {tol:g}")
        + f", {_loss_rule(metric, max_loss)}, latency ratio <= {LATENCY_RULE:g}"
    )
    if not all(level == "rigorous" for level in levels):
        return Verdict("do not switch", "a site's error is not rigorously certified", rule)
    if not all(math.isfinite(e) and (tol is None or e <= tol) for e in errors):
        return Verdict("do not switch", "a site's certified error exceeds the tolerance", rule)
    if lost > allowed:
        text = f"validation {_fall(comparison)}: fine-tune, or lower the tolerance"
        return Verdict("fine-tune", text, rule)
    kept = f"{metric.name} is kept" if lost <= 0 else f"{_fall(comparison)} only"
    if latency.median > LATENCY_RULE:
        text = f"{kept}, but a call takes {latency.median:.2f} times as long"
        return Verdict("switch at a cost", text, rule)
    return Verdict("switch", f"{kept}, and so is the latency (ratio {latency.median:.2f})", rule)


def _loss_rule(metric: Metric, max_loss: float | None) -> str:
    if metric == ACCURACY:
        allowed = ACCURACY_RULE if max_loss is None else max_loss
        return f"accuracy lost <= {100 * allowed:g} points"
    amount = f"{100 * METRIC_RULE:g} % of its value" if max_loss is None else f"{max_loss:g}"
    return f"{metric.name} worse by <= {amount}"


def _fall(comparison: Comparison) -> str:
    if comparison.metric == ACCURACY:
        return f"accuracy falls by {100 * comparison.lost:.2f} points"
    verb = "falls" if comparison.metric.higher_is_better else "rises"
    return f"{comparison.metric.name} {verb} from {comparison.before:.6g} to {comparison.after:.6g}"
