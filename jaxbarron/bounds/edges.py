"""Embeddings that one rule of the theory gives: upper bounds on the constant, one rule a function.

On the unit ball of any norm, ``||f||_(B_tau) <= C ||f||_(B_sigma)`` with RePU_s weighted by
``rho^s`` and every other activation by ``(1 + rho)^p`` (THEORY.md, Theorem Embedding constant).  An
edge is a proof of one such C; paths of edges multiply (Theorem Chain).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import flint
import numpy as np
from scipy.optimize import linprog

from jaxbarron.activations import Activation
from jaxbarron.balls.series import local_series, working_precision
from jaxbarron.balls.suprema import upper_float
from jaxbarron.bounds.constants import absolute_moment, growth_constant, weighted_moment
from jaxbarron.bounds.identities import find_identity
from jaxbarron.bounds.lines import tail_line
from jaxbarron.bounds.polynomial_cost import polynomial_cost
from jaxbarron.errors import UsageError
from jaxbarron.kernels import hierarchy_constant

__all__ = ["RULES", "Edge", "checked_order", "edges", "natural_order"]

_BITS = 192
_SHARES = 2520  # shares of kernels are multiples of 1/2520: halves, thirds, ... are exact
_PIECES = 64  # of [0, 1], on each of which a polynomial is bounded by its Bernstein coefficients


@dataclass(frozen=True)
class Edge:
    """The embedding constant from ``source`` to ``target`` is at most ``upper``.

    Attributes:
        source: sigma.
        target: tau.
        order: p, of the weight ``(1 + rho)^p`` of every activation but RePU_s.
        rule: the name of the rule, a key of ``RULES``.
        upper: the bound, rounded up.
        theorem: the theorem of THEORY.md that proves it.
        formula: the kernel.
    """

    source: Activation
    target: Activation
    order: int
    rule: str
    upper: float
    theorem: str
    formula: str


def natural_order(target: Activation) -> int:
    """The order at which a target is usually asked for: s for RePU_s, s >= 1, and 1 otherwise."""
    return max(target.homogeneity or 1, 1)


def edges(source: Activation, target: Activation, order: int) -> tuple[Edge, ...]:
    """Every embedding of the pair that one rule proves, the smallest bound first.

    Args:
        source: sigma.
        target: tau.
        order: p >= 1.

    Raises:
        UsageError: ``order`` is not a whole number from 1 to 16.

    Example:
        >>> from jaxbarron.activations import activation
        >>> found = edges(activation("tanh"), activation("sigmoid"), 1)[0]
        >>> found.rule, found.upper
        ('linear combination', 4.0)
    """
    checked_order(order)
    found = [rule(source, target, order) for rule in RULES.values()]
    return tuple(sorted((e for e in found if e is not None), key=lambda e: e.upper))


def checked_order(order: int) -> int:
    """The order, if it is one; else UsageError."""
    if isinstance(order, bool) or not isinstance(order, int) or not 1 <= order <= 16:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(
            f"given: order={order!r}; expected: a whole number from 1 to 16; do: e.g. order=1"
        )
    return order


# ------------------------------------------------------------------ finite kernels


def _unit(source: Activation, target: Activation, order: int) -> Edge | None:
    if source != target:
        return None
    return Edge(source, target, order, "unit", 1.0, "Theorem Push-forward", "the same function")


def _linear_combination(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Finite kernel cost."""
    if source == target or source.homogeneity == 0:
        return None
    with working_precision(_BITS):
        identity = find_identity(source, target)
        if identity is None:
            return None
        power, s = source.homogeneity, target.homogeneity
        if s is not None and order < s:
            return None
        if power is None:
            base = 0 if s is not None else 1
            near, far = flint.arb(0), flint.arb(0)
            for c, alpha, beta in identity.particles:
                near += abs(c) * (base + abs(beta)) ** (s or order)
                far += abs(c) * abs(alpha) ** (s or order)
            cost = near.max(far)
        elif identity.reach is not None:
            cost = sum(abs(c) * (1 + abs(a) + abs(b)) ** order for c, a, b in identity.particles)
        elif order == power:
            cost = sum(abs(c) * abs(a) ** order for c, a, _ in identity.particles)
        else:
            return None
        upper = upper_float(flint.arb(cost))
    theorem = "Theorem Finite kernel cost"
    return _edge(source, target, order, "linear combination", upper, theorem, identity.formula)


def _hierarchy(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Hierarchy."""
    t, s = source.homogeneity, target.homogeneity
    if t is None or s is None or not t > s >= 1:
        return None
    factor = math.factorial(t) // (math.factorial(s) * math.factorial(t - s - 1))
    power = "" if t == s + 1 else "u " if t == s + 2 else f"u^{t - s - 1} "
    formula = f"z_+^{t} = {factor} int_0^rho {power}(z - u)_+^{s} du"
    upper = float(hierarchy_constant(t, s))
    return _edge(source, target, order, "hierarchy", upper, "Theorem Hierarchy", formula)


# --------------------------------------------------------------- densities into RePU_s


def _taylor(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Taylor embedding: the best mean of at most three kernels."""
    s = target.homogeneity
    if s is None or source.homogeneity is not None or order < s:
        return None
    moments = [absolute_moment(source, s, s - k).upper for k in range(s + 1)]
    if not all(map(math.isfinite, moments)):
        return None
    parts = _polynomial_parts(source, s)
    if not parts:
        return None
    shares = _best_shares(moments, parts, s)
    with working_precision(_BITS):
        mean = [
            sum((share * part[k] for share, part in zip(shares, parts, strict=True)), flint.arb(0))
            for k in range(s + 1)
        ]
        rows = [flint.arb(m) + p for m, p in zip(moments, _prices(mean, s), strict=True)]
        best = _largest_of_bernstein(rows)
    formula = f"sigma(z) = P(z) + 1/{s}! int D(t) (z - t)_+^{s} dt, D = sigma^({s + 1})"
    if sum(share != 0 for share in shares) > 1:
        formula = f"a mean of kernels {formula}"
    return _edge(source, target, order, "taylor", best, "Theorem Taylor embedding", formula)


def _best_shares(moments: Sequence[float], parts: Sequence[Sequence[Any]], s: int) -> list[Any]:
    """Shares >= 0, exact and of sum 1, of the kernels that differ in their polynomial.

    They nearly minimise the maximum of Theorem Taylor embedding: a small linear program, in floats.
    """
    x = np.linspace(0, 1, 4 * s + 5)
    binomials = [math.comb(s, k) * x**k * (1 - x) ** (s - k) for k in range(s + 1)]
    basis = np.stack(binomials, axis=1)
    prices = [float(polynomial_cost(k, s)) / math.comb(s, k) for k in range(s + 1)]
    values = np.array([[float(c.mid()) for c in part[: s + 1]] for part in parts])
    count, rows = len(parts), len(x)
    # minimise top over the shares, u_k >= |sum of shares times a_k|, and top
    above = np.hstack([np.zeros((rows, count)), basis * prices, -np.ones((rows, 1))])
    modulus = [
        np.hstack([sign * values.T, -np.eye(s + 1), np.zeros((s + 1, 1))]) for sign in (1, -1)
    ]
    found = linprog(
        np.append(np.zeros(count + s + 1), 1.0),
        A_ub=np.vstack([above, *modulus]),
        b_ub=np.concatenate([-basis @ np.array(moments), np.zeros(2 * (s + 1))]),
        A_eq=np.append(np.ones(count), np.zeros(s + 2))[None],
        b_eq=[1.0],
        method="highs",
    )
    raw = found.x[:count] if found.status == 0 else np.eye(count)[0]
    steps = [max(round(float(share) * _SHARES), 0) for share in raw]
    largest = int(np.argmax(raw))
    steps[largest] += _SHARES - sum(steps)
    return [flint.fmpq(step, _SHARES) for step in steps]


def _growing_reach(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Growing reach: D is merely bounded, and the weight has one more power of reach."""
    s = target.homogeneity
    if s is None or source.homogeneity is not None or order < s + 1:
        return None
    at_zero = _taylor_polynomial(source, s)
    grown = growth_constant(source, s).upper
    if at_zero is None or not math.isfinite(grown):
        return None
    with working_precision(_BITS):
        upper = upper_float(grown + flint.arb(_largest_of_bernstein(_prices(at_zero, s))))
    formula = f"sigma(z) = P(z) + 1/{s}! int over |t| <= rho of D(t) (z - t)_+^{s} dt"
    return _edge(
        source, target, order, "taylor on a reach", upper, "Theorem Growing reach", formula
    )


def _polynomial_parts(source: Activation, s: int) -> list[list[Any]]:
    """Coefficients of the polynomials to which a density kernel of all of D may be added."""
    parts: list[list[Any]] = []
    at_zero = _taylor_polynomial(source, s)
    if at_zero is not None:
        parts.append(at_zero)
    for side in (-1, 1):
        line = tail_line(source, side)
        if line is not None and (s > 0 or line[1].is_zero()):
            parts.append([*line, *[flint.arb(0)] * s][: s + 1])
    return parts


@functools.lru_cache(maxsize=512)
def _taylor_polynomial(source: Activation, s: int) -> list[Any] | None:
    """``sigma^(k)(0) / k!``, k <= s; None at a kink and where they are not known."""
    if any(kink.location == 0 for kink in source.kinks):
        return None
    with working_precision(_BITS, s + 8):
        zero = flint.arb(0)
        found = local_series(source.program, flint.arb_series([zero, 1], prec=max(s + 1, 2)), zero)
        if not found.smooth or not all(c.is_finite() for c in found.coefficients[: s + 1]):
            return None
        return found.coefficients[: s + 1]


def _prices(polynomial: Sequence[Any], s: int) -> list[Any]:
    """Bernstein coefficients, in rho/(1 + rho), of a polynomial's cost over (1 + rho)^s."""
    prices: list[Any] = []
    for k in range(s + 1):
        cost = polynomial_cost(k, s) / math.comb(s, k)
        prices.append(abs(polynomial[k]) * flint.fmpq(cost.numerator, cost.denominator))
    return prices


def _largest_of_bernstein(coefficients: Sequence[Any]) -> float:
    """At least the maximum on [0, 1] of a polynomial with these Bernstein coefficients.

    On each of some equal pieces the polynomial stays below the largest coefficient of its own
    Bernstein form there, which the algorithm of de Casteljau gives (Theorem Taylor embedding).
    """
    largest = -math.inf
    rest = [flint.arb(c) for c in coefficients]
    for piece in range(_PIECES):
        first, rest = _cut(rest, flint.fmpq(1, _PIECES - piece))
        largest = max(largest, *(upper_float(c) for c in first))
    return largest


def _cut(coefficients: list[Any], at: Any) -> tuple[list[Any], list[Any]]:
    """The Bernstein coefficients on [0, at] and on [at, 1]."""
    left, right, row = [coefficients[0]], [coefficients[-1]], coefficients
    while len(row) > 1:
        row = [(1 - at) * a + at * b for a, b in itertools.pairwise(row)]
        left.append(row[0])
        right.append(row[-1])
    return left, right[::-1]


# ---------------------------------------------------------- exponential units, and cosines


def _inverse_convolution(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Inverse convolution: ReLU as an integral of ELUs whose slope jumps."""
    if source.homogeneity != 1 or order != 1 or target.family not in ("elu", "selu"):
        return None
    with working_precision(_BITS):
        unit = _exponential_unit(target)
        if unit is None:
            return None
        scale, alpha, decay = unit
        eta = decay - alpha
        if eta.contains(0):
            return None
        upper = upper_float((abs(decay / eta) + abs(1 - decay / eta)) / scale)
    formula = "relu(z) = int tau(z - t) dkappa(t), kappa = (1 - d/dz)/(1 - eta d/dz) delta"
    theorem = "Theorem Inverse convolution"
    return _edge(source, target, order, "inverse convolution", upper, theorem, formula)


def _resolvent(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Resolvent: tau'' is the kernel of (1 - L d/dz)^-1."""
    if order != 1 or source == target:
        return None
    theorem = "Theorem Resolvent"
    with working_precision(_BITS):
        unit = _exponential_unit(target)
        power = source.homogeneity
        if power is not None:
            if unit is None or unit[1] != unit[2] or power < 2:
                return None
            formula = f"z_+^{power} = lim int (sigma'' - L sigma''')(t) tau(u z - t) dt / u^{power}"
            cost = float(hierarchy_constant(power, 1))
            return _edge(source, target, order, "resolvent", cost, theorem, formula)
        own = _exponential_unit(source)
        if unit is None or unit[1] != unit[2] or (own is not None and own[2] == unit[2]):
            return None  # of units with the same decay one is the other, or its slope jumps
        decay = unit[2]
        lines = tail_line(source, -1), tail_line(source, 1)
        if lines[0] is None or lines[1] is None:
            return None
        length = float(decay.mid())
        density = weighted_moment(source, {2: 1.0, 3: -length}, 1).upper
        if not math.isfinite(density):
            return None
        (intercept, slope), (_, last) = lines[0], lines[1]
        constant = abs(intercept + decay * (last - slope))
        affine = (2 * abs(slope)).max(abs(slope) + constant)
        upper = upper_float(flint.arb(density) + affine)
    formula = "sigma(z) = A(z) + int (sigma'' - L sigma''')(t) tau(z - t) dt, A a line"
    return _edge(source, target, order, "resolvent", upper, theorem, formula)


def _exponential_unit(tau: Activation) -> tuple[Any, Any, Any] | None:
    """S, alpha, L of ``S z (z > 0), S alpha (exp(z / L) - 1)``, with L = 1 or alpha = L."""
    kink = next((k for k in tau.kinks if k.location == 0), None)
    if kink is None or tau.right is None or tau.left is None:
        return None
    scale = flint.arb(tau.right.slope)
    if tau.family == "elu":
        return scale, flint.arb(-tau.left.intercept), flint.arb(1)
    if tau.family == "celu":
        return scale, flint.arb(-tau.left.intercept), flint.arb(-tau.left.intercept)
    if tau.family == "selu":
        # jax.nn.selu multiplies elu by the two constants of Klambauer et al. (2017)
        return scale, flint.arb(1.6732632423543772848170429916717), flint.arb(1)
    return None


def _spectrum(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Gaussian spectrum."""
    if source.name != "gaussian" or target.name != "cos":
        return None
    with working_precision(_BITS):
        # E max(1, |xi|)^p for a normal xi of variance 2, in closed form for p = 1
        if order != 1:
            return None
        half = flint.arb(1) / 2
        upper = upper_float(half.erf() + 2 * (-(half**2)).exp() / flint.arb.pi().sqrt())
    formula = "exp(-z^2) = int exp(-xi^2/4) / (2 sqrt(pi)) cos(xi z) dxi"
    theorem = "Theorem Gaussian spectrum"
    return _edge(source, target, order, "spectrum", upper, theorem, formula)


def _edge(
    source: Activation, target: Activation, order: int, rule: str, upper: float, theorem: str,
    formula: str,
) -> Edge | None:  # fmt: skip
    if not math.isfinite(upper):
        return None
    return Edge(source, target, order, rule, upper, theorem, formula)


RULES: dict[str, Callable[[Activation, Activation, int], Edge | None]] = {
    "unit": _unit,
    "linear combination": _linear_combination,
    "hierarchy": _hierarchy,
    "taylor": _taylor,
    "taylor on a reach": _growing_reach,
    "inverse convolution": _inverse_convolution,
    "resolvent": _resolvent,
    "spectrum": _spectrum,
}
