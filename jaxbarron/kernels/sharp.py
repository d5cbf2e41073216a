"""The representation of least norm on a reach as a finite kernel (THEORY.md, Theorem Sharp kernel).

Every exact representation of sigma by RePU_s on |z| <= R splits D = sigma^(s+1) between particles
that bend to the right and to the left of each point, and adds a polynomial.  Cells of matched
moments make both parts finite, and which share of each cell goes to the right is a linear program.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from jaxbarron.activations import Activation, activation
from jaxbarron.errors import (
    DomainError,
    ToleranceError,
    UnreachableTargetError,
    UsageError,
)
from jaxbarron.kernels.demand import check_demand
from jaxbarron.kernels.density import LIMIT_CONSTANTS
from jaxbarron.kernels.matched_cells import Nodes, cumulative_mass, largest_error, matched_nodes
from jaxbarron.measures import ParticleMeasure

__all__ = [
    "check_reach",
    "kernel_of_particles",
    "polynomial_columns",
    "sharp_kernel",
]

Array = NDArray[np.float64]

_POLYNOMIALS = 65  # powers (alpha y + beta)^s that the first program may use
_ROUNDS = 8
_CLEAR = 1e-9  # prices of columns above 1 + this are taken up
_ZERO = 1e-9  # of a share or a relative cost: below, it is rounding
_MOST_CELLS = 2048
# error * cells^(s+1) over (int |D|^(1/(s+1)))^(s+1), Theorem Matched cells
_CELL_ERROR = {1: 2.0, 2: 2.529, 3: 7.366}


def sharp_kernel(
    source: str | Activation,
    s: int,
    reach: float,
    *,
    particles: int | None = None,
    tol: float | None = None,
) -> ParticleMeasure:
    """A kernel into RePU_s on ``|z| <= reach`` whose norm tends to the least one there is.

    With exact arithmetic ``||sigma|| <= norm(kernel) = density part + excess of the cells``, where
    ||sigma|| is the norm of sigma on the interval, and the excess falls to that of sigma as the
    cells shrink (THEORY.md, Theorem Sharp kernel); ``norm(kernel)`` is that of
    :func:`jaxbarron.norm` with Ball(reach) and order=s.  The error is that of Theorem
    Matched cells; certify it with :func:`jaxbarron.kernel_certificate`, or call
    ``certified_kernel(..., minimise="norm")``.

    Args:
        source: sigma, with a (s+1)-th derivative that is a measure on the interval.
        s: 1, 2 or 3.
        reach: a finite number > 0.
        particles: the most particles; one a cell for s = 1, two for s = 2 and 3, and at most
            2 s + 2 more for the polynomial and for cells with particles on both sides.
        tol: instead: the least number of cells whose error, estimated, stays below it.

    Returns:
        A kernel of NumPy doubles.

    Raises:
        UsageError: another s; not exactly one of ``particles`` and ``tol``; too few particles.
        DomainError: the reach is not a finite number > 0.
        ToleranceError: ``tol`` is not positive, or needs too many cells.
        UnreachableTargetError: a derivative of sigma below order s jumps inside.
        NonFiniteError: sigma or its derivatives are not finite on the interval.

    Example:
        >>> from jaxbarron.domains import Ball
        >>> from jaxbarron.norms import norm
        >>> kernel = sharp_kernel("tanh", 2, 4.0, particles=64)
        >>> round(float(norm(kernel, Ball(4.0), order=2)), 2)  # the least norm is 37.330
        37.33
    """
    sigma = activation(source)
    _check(sigma, s, reach, particles, tol)
    if tol is not None:
        return _for_tolerance(sigma, s, reach, tol)
    assert particles is not None
    each = 1 if s == 1 else 2
    cells = max(1, particles // each)
    while cells >= 1:
        kernel = _built(sigma, s, reach, cells)
        if kernel.particles <= particles:
            return kernel
        cells -= max(1, (kernel.particles - particles) // each)
    raise UsageError(
        f"given: particles={particles}; expected: more for {sigma.name} into RePU_{s} on |z| <= "
        f"{reach:g}, whose cells and polynomial need about {each + 2 * s + 2}; do: allow more"
    )


def _check(
    sigma: Activation, s: int, reach: float, particles: int | None, tol: float | None
) -> None:
    if s not in LIMIT_CONSTANTS:
        raise UsageError(f"given: s={s!r}; expected: 1, 2 or 3; do: e.g. s=2")
    if (tol is None) == (particles is None):
        raise UsageError(
            f"given: tol={tol!r} and particles={particles!r}; expected: exactly one of them; do: "
            "give tol= for an error or particles= for a size"
        )
    check_demand(tol, particles, None)
    check_reach(sigma, s, reach)


def check_reach(sigma: Activation, s: int, reach: float) -> None:
    """Raise unless the norm of sigma on |z| <= reach is finite.

    Raises:
        DomainError: the reach is not a finite number > 0.
        UnreachableTargetError: a derivative of sigma below order s jumps inside.
    """
    if not (math.isfinite(reach) and reach > 0):
        raise DomainError(
            f"given: reach={reach}; expected: a finite number > 0, since the least norm is that on "
            "|z| <= reach; do: give the largest |z| that the kernel must serve"
        )
    for kink in sigma.kinks:
        order = next((j for j, jump in enumerate(kink.jumps) if jump), s)
        if abs(kink.location) < reach and order < s:
            raise UnreachableTargetError(
                f"given: {sigma.name}, whose derivative of order {order} jumps at "
                f"{kink.location:g}, into RePU_{s}, where its norm is infinite; expected: a "
                "function whose derivatives below order s do not jump; do: lower s, or take "
                "minimise='error'"
            )


def _for_tolerance(sigma: Activation, s: int, reach: float, tol: float) -> ParticleMeasure:
    limit = _CELL_ERROR[s] * LIMIT_CONSTANTS[s] * cumulative_mass(sigma, s, reach)[1][-1] ** (s + 1)
    most = (limit / tol) ** (1 / (s + 1))
    if most > _MOST_CELLS / 2:
        raise ToleranceError(
            f"given: tol={tol!r}, for which degree {s} needs about {most:.0f} cells; expected: at "
            f"most {_MOST_CELLS // 2}; do: raise tol, or choose a higher s"
        )
    low, high = 0, max(1, round(most))
    while high <= _MOST_CELLS and largest_error(sigma, matched_nodes(sigma, s, reach, high)) > tol:
        low, high = high, 2 * high
    if high > _MOST_CELLS:
        raise ToleranceError(
            f"given: tol={tol!r} for {sigma.name} into RePU_{s} on |z| <= {reach:g}; expected: a "
            "tolerance that doubles hold there; do: raise tol"
        )
    while high - low > 1:
        middle = (low + high) // 2
        good = largest_error(sigma, matched_nodes(sigma, s, reach, middle)) <= tol
        low, high = (low, middle) if good else (middle, high)
    return _built(sigma, s, reach, high)


def polynomial_columns(x: Array, s: int) -> tuple[Array, Array]:
    """``(alpha y + beta)^s`` with alpha = 1 - |x|, beta = x in powers of y, and what it costs.

    Its reach is 1, so it costs 1, and 2 where its kink lies inside and it takes two particles.
    """
    alpha = 1 - np.abs(x)
    columns = [math.comb(s, j) * alpha**j * x ** (s - j) for j in range(s + 1)]
    return np.stack(columns), np.where(np.abs(x) < 0.5, 2.0, 1.0)


def _built(sigma: Activation, s: int, reach: float, cells: int) -> ParticleMeasure:
    nodes = matched_nodes(sigma, s, reach, cells)
    switches, _ = _program(nodes)
    # the sign changes of Q_M as edges: cells that no longer want both sides
    nodes = matched_nodes(sigma, s, reach, cells, switches)
    _, (shares, x, weights) = _program(nodes)
    share = shares[nodes.cells]
    right, left = nodes.masses * share, (-1) ** (s + 1) * nodes.masses * (1 - share)
    return kernel_of_particles(s, reach, nodes.places, right, left, x, weights)


def _program(nodes: Nodes) -> tuple[list[float], tuple[Array, Array, Array]]:
    """Least cost of the polynomial over the shares: the sign changes of Q_M, and the solution.

    Columns are taken up where |Q_M| exceeds its price, at the exact maxima of a polynomial.
    """
    s, powers = nodes.s, nodes.powers()
    x = np.linspace(-1, 1, _POLYNOMIALS)
    size = np.max(np.abs(np.vstack([powers, nodes.start]))) or 1.0
    dual, solved = np.zeros(s + 1), np.zeros(0)
    columns, prices = polynomial_columns(x, s)
    for _ in range(_ROUNDS):
        columns, prices = polynomial_columns(x, s)
        count = len(powers)
        # start + sum (1 - share) powers = sum c columns, shares in [0, 1]
        found: Any = linprog(
            np.concatenate([np.zeros(count), prices, prices]),
            A_eq=np.hstack([powers.T / size, columns, -columns]),
            b_eq=(nodes.start + powers.sum(axis=0)) / size,
            bounds=[(0, 1)] * count + [(0, None)] * (2 * x.size),
            method="highs-ds",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        assert found.x is not None, found.message  # (y - t)^s for a few t spans all: feasible
        solved, dual = np.asarray(found.x), np.asarray(found.eqlin.marginals)
        new = _violated(dual, s)
        new = new[~np.isin(new, x)]
        if not new.size:
            break
        x = np.concatenate([x, new])
    count, n = len(powers), len(prices)
    shares, weights = solved[:count], solved[count : count + n] - solved[count + n :]
    shares, weights = _polished(nodes, powers, columns, shares, weights * size)
    used = np.abs(weights) > 0
    return _roots(dual, s, nodes.reach), (shares, x[:n][used], weights[used])


def _violated(dual: Array, s: int) -> Array:
    """The x where |Q_M| has a maximum above its price."""
    t = np.polynomial.Polynomial([0.0, 1.0])
    found: list[float] = []
    for side in (-1, 1):
        q = sum(
            (
                dual[j] * math.comb(s, j) * (1 - t) ** j * (side * t) ** (s - j)
                for j in range(s + 1)
            ),
            np.polynomial.Polynomial([0.0]),
        )
        roots = q.deriv().roots()
        real = roots.real[(np.abs(roots.imag) < 1e-12) & (roots.real > 0) & (roots.real < 1)]
        prices = np.where(real < 0.5, 2.0, 1.0)
        found += list(side * real[np.abs(q(real)) > (1 + _CLEAR) * prices])
    return np.array(found)


def _roots(dual: Array, s: int, reach: float) -> list[float]:
    """The t in (-R, R) where Q_M(t), the dual on (z - t)^s, changes its sign."""
    coefficients = [dual[j] * math.comb(s, j) * (-1) ** (s - j) for j in range(s, -1, -1)]
    roots = np.polynomial.Polynomial(coefficients).roots()
    real = roots.real[np.abs(roots.imag) < 1e-9]
    return [float(x) * reach for x in real if abs(x) < 1]


def _polished(
    nodes: Nodes, powers: Array, columns: Array, shares: Array, weights: Array
) -> tuple[Array, Array]:
    """The same vertex, its basic variables solved for again: the solver's tolerance is absolute."""
    scale = np.max(np.abs(nodes.start)) + np.max(np.abs(powers), initial=0.0)
    weights = np.where(np.abs(weights) > _ZERO * scale, weights, 0)
    shares = np.where(shares < _ZERO, 0, np.where(shares > 1 - _ZERO, 1, shares))
    free, used = np.flatnonzero((shares > 0) & (shares < 1)), np.flatnonzero(weights)
    matrix = np.hstack([powers[free].T, columns[:, used]])
    for _ in range(3):
        rest = nodes.start + powers.T @ (1 - shares) - columns @ weights
        if not matrix.size:
            break
        step = np.linalg.lstsq(matrix, rest, rcond=None)[0]
        shares[free] += step[: free.size]
        weights[used] += step[free.size :]
    return shares, weights


def kernel_of_particles(
    s: int, reach: float, places: Array, right: Array, left: Array, x: Array, powers: Array
) -> ParticleMeasure:
    """``sum right (z - t)_+^s + left (t - z)_+^s + sum powers (alpha y + beta)^s``, y = z/reach.

    Args:
        s: the power of the target.
        reach: R; each power has the reach 1 on |z| <= R.
        places: the t, shape (k,).
        right: weights, shape (k,); those that are 0 are left out.
        left: the same for the particles to the left.
        x: the powers: alpha = 1 - |x|, beta = x; shape (n,).
        powers: their weights, shape (n,).
    """
    alpha = (1 - np.abs(x)) / reach
    # p^s = p_+^s + (-1)^s (-p)_+^s: both parts where the kink lies inside, else the one that is p
    c = [right, left, np.where(x > -0.5, powers, 0), np.where(x < 0.5, (-1) ** s * powers, 0)]
    directions = [np.ones_like(right), -np.ones_like(left), alpha, -alpha]
    offsets = [-places, places, x, -x]
    c, alpha, beta = (np.concatenate(parts) for parts in (c, directions, offsets))
    used = c != 0
    used[0] |= not used.any()
    return ParticleMeasure(c[used, None], alpha[used, None], beta[used])
