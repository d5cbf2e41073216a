"""Metrics: one number for how well a model's outputs fit its labels, and which way is better."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from jaxbarron.errors import DtypeError, NonFiniteError, ShapeError, UsageError

__all__ = [
    "ACCURACY",
    "MAE",
    "METRICS",
    "MSE",
    "Metric",
    "check_labels",
    "metric_of",
    "metric_value",
]


@dataclass(frozen=True)
class Metric:
    """A metric of outputs against labels.

    Attributes:
        name: for reports.
        fn: ``fn(outputs, labels)``, a real number.
        higher_is_better: True for accuracy, False for errors.
        labels: what ``fn`` compares with: ``"classes"``, whole numbers that index the last axis of
            the outputs; ``"values"``, an array like the outputs; ``"own"``, whatever it takes.
    """

    name: str
    fn: Callable[[Any, Any], Any]
    higher_is_better: bool
    labels: Literal["classes", "values", "own"] = "own"

    def lost(self, before: float, after: float) -> float:
        """By how much ``after`` is worse than ``before``; negative where it is better."""
        return before - after if self.higher_is_better else after - before


def _accuracy(outputs: Any, labels: Any) -> float:
    return float(np.mean(outputs.argmax(-1) == labels))


def _mean_square(outputs: Any, targets: Any) -> float:
    return float(np.mean(np.square(outputs - targets)))


def _mean_modulus(outputs: Any, targets: Any) -> float:
    return float(np.mean(np.abs(outputs - targets)))


ACCURACY = Metric("accuracy", _accuracy, higher_is_better=True, labels="classes")
MSE = Metric("mse", _mean_square, higher_is_better=False, labels="values")
MAE = Metric("mae", _mean_modulus, higher_is_better=False, labels="values")
METRICS = {metric.name: metric for metric in (ACCURACY, MSE, MAE)}


def metric_of(metric: str | Metric) -> Metric:
    """The metric of this name, or the one given.

    Raises:
        UsageError: no metric of that name.

    Example:
        >>> metric_of("mse").higher_is_better
        False
    """
    if isinstance(metric, Metric):
        return metric
    if metric not in METRICS:
        raise UsageError(
            f"given: metric={metric!r}; expected: {', '.join(METRICS)} or a Metric; do: "
            "Metric(name, fn, higher_is_better)"
        )
    return METRICS[metric]


def check_labels(metric: Metric, shape: tuple[int, ...], labels: np.ndarray) -> None:
    """Raise unless a metric can hold outputs of this shape against these labels.

    Raises:
        ShapeError: they do not fit each other, or there is none.
        DtypeError: classes that are no whole numbers.
        UsageError: a class that the outputs do not have.
        NonFiniteError: a target is NaN or infinite.

    Example:
        >>> check_labels(ACCURACY, (3, 10), np.array([0, 9, 4]))
    """
    if labels.size == 0:
        raise ShapeError("given: no example; expected: at least one; do: pass validation data")
    if metric.labels == "classes":
        if len(shape) < 2 or shape[:-1] != labels.shape:
            raise ShapeError(
                f"given: logits of shape {shape} for labels of shape {labels.shape}; expected: "
                "(n, classes) and (n,); do: make outputs one row of logits for each example, and "
                "labels one class each (of one-hot rows: labels.argmax(-1))"
            )
        if labels.dtype.kind not in "iu":
            raise DtypeError(
                f"given: labels of dtype {labels.dtype}; expected: whole numbers, the classes; "
                "do: labels.astype(int), or the metric mse for real targets"
            )
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= shape[-1]:
            raise UsageError(
                f"given: labels from {low} to {high} for {shape[-1]} logits; expected: classes "
                f"from 0 to {shape[-1] - 1}; do: number the classes from 0, and drop examples "
                "without a class"
            )
    elif metric.labels == "values":
        if shape != labels.shape:
            raise ShapeError(
                f"given: outputs of shape {shape} for targets of shape {labels.shape}; expected: "
                "one shape; do: reshape the targets, e.g. targets[:, None]"
            )
        if not np.isfinite(labels).all():
            raise NonFiniteError(
                "given: targets with NaN or infinity; expected: finite numbers; do: drop the "
                "examples without a target"
            )
    elif shape[:1] != labels.shape[:1]:
        raise ShapeError(
            f"given: outputs of shape {shape} for labels of shape {labels.shape}; expected: one "
            "for each example; do: put the examples on the first axis"
        )


def metric_value(metric: Metric, outputs: np.ndarray, labels: np.ndarray) -> float:
    """The metric as a finite float; a metric of the user's gets arrays of its own.

    Raises:
        UsageError: the metric fails, or returns no real number.
        NonFiniteError: it returns NaN or infinity.

    Example:
        >>> metric_value(ACCURACY, np.eye(4), np.array([0, 1, 2, 0]))
        0.75
    """
    try:
        value = metric.fn(outputs.copy(), labels.copy())
        scalar = np.asarray(value)
    except Exception as error:
        raise UsageError(
            f"given: the metric {metric.name}, which fails on outputs {outputs.shape} and labels "
            f"{labels.shape} ({type(error).__name__}: {error}); expected: metric(outputs, labels) "
            "-> a number; do: call it on such arrays"
        ) from error
    real = jnp.issubdtype(scalar.dtype, jnp.floating) or scalar.dtype.kind in "iu"
    if not (real or isinstance(value, numbers.Real)) or scalar.size != 1:
        what = f"{type(value).__name__} of shape {scalar.shape}" if scalar.ndim else repr(value)
        raise UsageError(
            f"given: the metric {metric.name}, which returns {what:.80}; expected: one real "
            "number; do: return e.g. float(np.mean(...))"
        )
    number = float(scalar.reshape(()))
    if not math.isfinite(number):
        raise NonFiniteError(
            f"given: the metric {metric.name}, which returns {number}; expected: a finite number; "
            "do: look for an empty mean or a division by zero in it"
        )
    return number
