"""Knots shared out over sites: a geometric program, solved through its dual.

THEORY.md, Theorem Shared tolerance: with errors ``c_l K_l^(-p_l)`` the least cost under bounds on
the outputs is convex in log K, and for given multipliers the K_l are in closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize

__all__ = ["allocate", "whole_numbers"]

_WIDEST = 230.0  # logarithms of multipliers and of factors lie within


def allocate(costs: Any, parts: Any, orders: Any, limit: float, least: Any) -> Any:
    """Real K_l >= least_l of least ``sum costs_l K_l`` with ``parts @ K^(-orders) <= limit``.

    Args:
        costs: of one knot at each site, shape (L,), > 0.
        parts: what each site adds to each output at K = 1, shape (outputs, L), >= 0.
        orders: the p_l > 0, shape (L,).
        limit: > 0.
        least: the fewest knots of each site, shape (L,), > 0.

    Returns:
        K, shape (L,): feasible, and optimal up to about one part in a thousand of the cost.

    Example:
        >>> import numpy as np
        >>> one = np.ones(2)
        >>> K = allocate(one, np.array([[1.0, 8.0]]), 2 * one, 1e-2, one)
        >>> bool(abs(K[1] / K[0] - 2) < 1e-3)  # the cube root of the ratio of the parts
        True
    """
    costs, parts, orders, least = (np.asarray(x, float) for x in (costs, parts, orders, least))
    rows = parts[np.max(parts, axis=1) > 0] / limit
    if not len(rows):
        return least

    def primal(weights: Any) -> Any:
        """The minimum over K of ``costs K + weights parts K^(-p)``, site by site."""
        return np.maximum((orders * (weights @ rows) / costs) ** (1 / (orders + 1)), least)

    def minus_dual(logs: Any) -> tuple[float, Any]:
        weights = np.exp(logs)
        k = primal(weights)
        spent = rows @ k**-orders
        value = costs @ k + weights @ (spent - 1)
        return -value / scale, -(spent - 1) * weights / scale

    if np.max(rows @ least**-orders) <= 1:
        return least

    def missed(log: float) -> float:
        """By how much the worst output is missed if all multipliers are the same."""
        return float(np.log(np.max(rows @ primal(np.full(len(rows), np.exp(log))) ** -orders)))

    start = _root(missed, -_WIDEST, _WIDEST)
    scale = float(costs @ primal(np.full(len(rows), np.exp(start))))
    found = scipy.optimize.minimize(
        minus_dual, np.full(len(rows), start), jac=True, method="L-BFGS-B",
        bounds=[(start - 60, start + 60)] * len(rows),
        options={"maxiter": 500, "ftol": 1e-12, "gtol": 1e-9},
    )  # fmt: skip
    best = primal(np.exp(found.x))
    return _stretched(best, rows, orders)


def _stretched(k: Any, rows: Any, orders: Any) -> Any:
    """The same proportions, as large as the worst output asks for."""
    worst = np.max(rows @ k**-orders)
    if worst <= 1:
        return k
    factor = _root(lambda t: float(np.max(rows @ (np.exp(t) * k) ** -orders)) - 1, 0.0, _WIDEST)
    return k * np.exp(factor) * (1 + 1e-12)


def _root(function: Callable[[float], float], lower: float, upper: float) -> float:
    found: Any = scipy.optimize.brentq(function, lower, upper, xtol=1e-14)
    return float(found)


def whole_numbers(k: Any, costs: Any, parts: Any, orders: Any, limit: float, least: Any) -> Any:
    """Whole K: all rounded up, then taken back where the limit allows, the dearest site first.

    Example:
        >>> import numpy as np
        >>> one = np.ones(2)
        >>> whole_numbers([2.1, 4.6], one, np.array([[1.0, 8.0]]), 2 * one, 0.7, one).tolist()
        [2, 5]
    """
    whole = np.ceil(np.asarray(k, float) - 1e-9)
    for place in np.argsort(-np.asarray(costs, float), kind="stable"):
        while whole[place] - 1 >= least[place]:
            fewer = whole.copy()
            fewer[place] -= 1
            if np.max(parts @ fewer**-orders) > limit:
                break
            whole = fewer
    return whole.astype(int)
