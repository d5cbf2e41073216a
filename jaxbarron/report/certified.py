"""What is proved of the outputs: every certified change that the report shows comes from here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxbarron.domains import Box
from jaxbarron.report.kept import Certified
from jaxbarron.report.subject import OwnModel
from jaxbarron.switching import end_to_end_bound

__all__ = ["certified_changes", "margin_that_decides"]


def certified_changes(
    model: OwnModel,
    rules: Mapping[Any, Any],
    demand: Mapping[str, Any],
    rows: list[int],
    radius: float,
    observed: Mapping[int, float],
) -> tuple[Certified, ...]:
    """Bounds on the change of every output, for every input in boxes around examples.

    Args:
        model: the model on its data.
        rules: as for :func:`jaxbarron.switch`.
        demand: ``tol``, ``particles``, ``reach`` and ``direct``, as there.
        rows: the examples at the boxes' centres.
        radius: of the boxes, number by number.
        observed: by row the largest change that a search found in the box.

    Raises:
        The errors of :func:`jaxbarron.end_to_end_bound`.
    """
    made: list[Certified] = []
    for row in rows:
        centre = model.inputs[row : row + 1]
        flat = np.asarray(centre, np.float64).ravel()
        bound = end_to_end_bound(
            model.apply, rules, model.parameters, centre,
            box=Box(flat - radius, flat + radius), argument=1, **demand,
        )  # fmt: skip
        lower, upper = (np.ravel(x[0]) for x in (bound.lower, bound.upper))
        classes = model.metric.labels != "values" and bound.lower[0].ndim == 2 and lower.size > 1
        made.append(
            Certified(
                row,
                radius,
                tuple(lower.tolist()),
                tuple(upper.tolist()),
                bound.largest,
                bound.level,
                bound.ends_at,
                margin_that_decides(lower, upper) if classes else None,
                observed.get(row),
            )
        )
    return tuple(made)


def margin_that_decides(lower: np.ndarray, upper: np.ndarray) -> float:
    """The largest ``upper_j - lower_i`` over ``i != j``, rounded up.

    Where ``lower <= after - before <= upper`` and the original's best logit exceeds each other one
    by more than this, the class is the same (THEORY.md, Theorem Margin transfer).

    Example:
        >>> margin_that_decides(np.array([-0.1, 0.0, -0.5]), np.array([0.2, 0.1, 0.0])) >= 0.7
        True
    """
    gaps = upper[None, :] - lower[:, None]
    np.fill_diagonal(gaps, -np.inf)
    return float(np.nextafter(gaps.max(), np.inf))
