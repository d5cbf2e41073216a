"""Convolutions: an activation as an integral of RePU_s particles over all of R, from its left line.

``softplus = ReLU * logistic density``, ``sigmoid = Heaviside * logistic density``,
``erf = -1 + 2 Heaviside * normal density``, ``z Phi(z) + phi(z) = ReLU * normal density``: each is
a case of one formula, in which the density is a derivative of the activation itself.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import numpy as np
from scipy.optimize import brentq

from jaxbarron.activations import Activation, Line, activation
from jaxbarron.errors import UnreachableTargetError, UsageError
from jaxbarron.kernels.density import knot_mass
from jaxbarron.kernels.exact_tails import (
    DyadicSpline,
    kernel_of_spline,
    line_particles,
    nearest_dyadic,
)
from jaxbarron.kernels.spline_space import Array
from jaxbarron.measures import ParticleMeasure
from jaxbarron.programs import Program, evaluate_program

__all__ = ["convolution_kernel"]

_PANEL, _NODES = 0.25, 16  # of the quadrature in v, t = sinh(v)
_BITS = 53
_NEGLIGIBLE = 1e-9  # share of the knot mass: a root of D, which is computed to 1e-16


def convolution_kernel(
    source: str | Activation,
    target: str | Activation,
    *,
    particles: int = 64,
    left: Line | None = None,
    right: Line | None = None,
) -> ParticleMeasure:
    """The one-sided kernel from an activation to RePU_s, s = 0, 1, 2, 3, valid on all of R.

    With ``m z + q`` the line of sigma at -infinity and ``D = sigma^(s+1)``

        sigma(z) = m z + q + int D(t)/s! (z - t)_+^s dt     for all real z

    (THEORY.md, Theorem One-sided kernel): for sigma = RePU_s * k this is the convolution, since
    ``D/s! = k``.  The line is cut into cells on which D keeps its sign.  The mass of each becomes
    one particle (s <= 1) or two (s >= 2) with the cell's moments of order <= s, so that each cell
    errs on itself only (Theorem Matched cells).  For s = 1, with m_i and v_i the mass and the
    variance of a cell and t_i its mean,

        sup over R of |sigma - kernel| = max_i int_cell |D(t)| (t_i - t)_+ dt
                                      <= max_i m_i v_i^(1/2) / 2,

    which falls like ``(int |D|^(1/2))^2 / (8 K^2)``, K knots.  That is twice the limit of
    :func:`jaxbarron.spline_kernel` (about 2.6 and 7.4 times, s = 2 and 3), which is the one to use
    for the fewest particles at a given error.  Here the masses have the signs of D, their total
    variation is that of D, and for s = 1 the norm in any convex weight stays below that of the
    density: use this kernel where the cost counts, for its speed at large K (s <= 1), and into the
    Heaviside step, which no spline serves (error ``int |D| / (2 K)``).  The slopes of both tails
    are exact in the stored floats (Theorem Exact tails; for s = 3 up to rounding, by Theorem No
    cubic line), so that :func:`jaxbarron.kernel_certificate` proves the error on R.

    Args:
        source: sigma; smooth, but for kinks in its derivatives of order >= s.
        target: RePU_s with s from 0 to 3, e.g. ``"heaviside"``, ``"relu"``, ``"repu(2)"``.
        particles: the most particles to use.  One is spent on a non-zero constant of the left
            line, 2, 4 or 6 (s = 1, 2, 3) on its slope, one on each kink of order s.
        left: the asymptotic line at -infinity, where the activation does not state it.
        right: the same at +infinity.

    Returns:
        A kernel of NumPy doubles, knots in ascending order, then the left line.

    Raises:
        UsageError: the target is no RePU_s with s <= 3, or there are too few particles.
        UnreachableTargetError: sigma tends to no line at an end (to no constant, s = 0), or a
            derivative of order below s jumps.

    Example:
        >>> kernel = convolution_kernel("softplus", "relu", particles=8)
        >>> kernel.particles, float(kernel.weights.sum())
        (8, 1.0)
    """
    sigma, tau = activation(source), activation(target)
    s = tau.homogeneity
    if s is None or s > 3:
        raise UsageError(
            f"given: the target {tau.name}; expected: RePU_s with s = 0, 1, 2 or 3; do: e.g. "
            "'relu', and go on from there with push_forward"
        )
    first, last = _lines(sigma, s, left or sigma.left, right or sigma.right)
    atoms = tuple((kink.location, kink.jumps[s]) for kink in sigma.kinks if kink.jumps[s])
    density = _Density(sigma, s, sigma.derivative(s + 1).program, (first, last), atoms)
    knots, jumps = _particles(density, particles - _overhead(s, first), particles)
    if s == 0:
        line = [(first.intercept, 0.0, 1.0)] if first.intercept else []
        return _measure([*zip(jumps, np.ones_like(knots), -knots, strict=True), *line])
    if not knots.size:
        return _measure(line_particles(s, first.slope, first.intercept))
    return kernel_of_spline(_dyadic(s, knots, jumps, first, last))


def _measure(particles: list[tuple[float, float, float]]) -> ParticleMeasure:
    columns = np.array(particles or [(0.0, 1.0, 0.0)], dtype=np.float64)
    return ParticleMeasure(columns[:, :1], columns[:, 1:2], columns[:, 2])


def _lines(sigma: Activation, s: int, left: Line | None, right: Line | None) -> tuple[Line, Line]:
    if left is None or right is None:
        raise UnreachableTargetError(
            f"given: {sigma.name}, of which no line is known at "
            f"{'-' if left is None else '+'}infinity; expected: asymptotic lines at both ends; do: "
            "give left= and right=, or use taylor_kernel on a reach"
        )
    if s == 0 and (left.slope or right.slope):
        raise UnreachableTargetError(
            f"given: {sigma.name}, which is not bounded, into the Heaviside step; expected: "
            "constants at both infinities; do: choose the target relu"
        )
    rough = [kink for kink in sigma.kinks if any(kink.jumps[:s])]
    if rough:
        raise UnreachableTargetError(
            f"given: {sigma.name}, whose derivative of order below {s} jumps at "
            f"{rough[0].location:g}, into RePU_{s}; expected: an (s+1)-th derivative that is a "
            "measure; do: use a smaller s, or a spline kernel"
        )
    return left, right


def _overhead(s: int, line: Line) -> int:
    return (2 * s if line.slope else 0) + (1 if line.intercept else 0)


# ------------------------------------------------------------ cells and particles


def _particles(density: _Density, count: int, given: int) -> tuple[Array, Array]:
    """Knots, ascending, and coefficients c_k of at most ``count`` particles RePU_s(z - t_k)."""
    sigma, s, atoms = density.sigma, density.s, density.atoms
    points, mass = knot_mass(sigma, s, -math.inf, math.inf)
    each = 1 if s <= 1 else 2
    cells = (count - len(atoms)) // each
    bounds, support = _segments(density, points, mass)
    if cells < len(bounds) - 1:
        least = given - count + len(atoms) + each * (len(bounds) - 1)
        raise UsageError(
            f"given: particles={given}; expected: at least {least} for {sigma.name} into RePU_{s}: "
            f"{each} for each interval on which its derivative of order {s + 1} keeps its sign, "
            "and the line at -infinity; do: allow more particles"
        )
    where, amounts = np.zeros(0), np.zeros(0)
    if len(bounds) > 1:
        marks = _marks(bounds, cells)
        edges = np.interp(marks, mass, points)
        edges[[0, -1]] = support
        references, moments = _cell_moments(density, edges)
        where, amounts = (_one_node, _two_nodes)[each - 1](references, moments)
        if s == 0:  # no first moment to keep: the median halves the error
            where = np.interp((marks[1:] + marks[:-1]) / 2, mass, points)
    knots = np.concatenate([where, [t for t, _ in atoms]])
    jumps = np.concatenate([amounts, [jump for _, jump in atoms]]) / math.factorial(s)
    used = jumps != 0
    order = np.argsort(knots[used], kind="stable")
    return knots[used][order], jumps[used][order]


def _segments(
    density: _Density, points: Array, mass: Array
) -> tuple[list[float], tuple[float, float]]:
    """Where D keeps its sign and does not jump, and the ends of its support, where it has any.

    The first are values of ``mass``, the ends of the support included; the second are points.
    """
    total, support = float(mass[-1]), (-math.inf, math.inf)
    if not total:
        return [0.0], support
    sign = np.sign(density(points))
    # Where D is nothing but rounding, its sign is too.
    seen = np.flatnonzero((np.gradient(mass) > _NEGLIGIBLE * total) & (sign != 0))
    kinks = [kink.location for kink in density.sigma.kinks]
    lower = max((t for t in kinks if t <= points[seen[0]]), default=-math.inf)
    upper = min((t for t in kinks if t >= points[seen[-1]]), default=math.inf)
    turns = [(i, j) for i, j in itertools.pairwise(seen) if sign[i] != sign[j]]
    roots = [cast(float, brentq(density, points[i], points[j])) for i, j in turns]
    start, *cuts, end = np.interp(
        [lower, *sorted([*(t for t in kinks if lower < t < upper), *roots]), upper], points, mass
    ).tolist()
    bounds = [start]
    for cut in cuts:
        if bounds[-1] + _NEGLIGIBLE * total < cut < end - _NEGLIGIBLE * total:
            bounds.append(cut)
    return [*bounds, end], (lower, upper)


def _marks(bounds: list[float], cells: int) -> Array:
    """The values of ``mass`` at the edges of the cells, as equal as the segments allow."""
    widths = np.diff(bounds)
    counts = np.ones(len(widths), dtype=np.int64)
    for _ in range(cells - len(widths)):
        counts[np.argmax(widths / counts)] += 1
    inner = [
        np.linspace(a, a + w, n, False) for a, w, n in zip(bounds, widths, counts, strict=False)
    ]
    return np.concatenate([*inner, bounds[-1:]])


@dataclass(frozen=True)
class _Density:
    """D = sigma^(s+1) without its atoms, and what is known of it beyond any point."""

    sigma: Activation
    s: int
    program: Program
    lines: tuple[Line, Line]
    atoms: tuple[tuple[float, float], ...]

    def __call__(self, t: Array) -> Array:
        return np.nan_to_num(evaluate_program(self.program, t), posinf=0.0, neginf=0.0)

    def tail_moments(self, edge: float, side: int) -> Array:
        """``int D(t) (t - edge)^j dt``, j <= s, over the half line beyond ``edge``.

        They are the derivatives of sigma less its line (THEORY.md, Theorem One-sided kernel): no
        quadrature, whose nodes far out would see D as the rounding of something larger.
        """
        line = self.lines[side > 0]
        inside = np.float64(np.nextafter(edge, side * np.inf))
        moments: list[float] = []
        for j in range(self.s + 1):
            order = self.s - j
            program = self.sigma.derivative(order).program if order else self.sigma.program
            flat = (line.slope * inside + line.intercept, line.slope, 0.0, 0.0)[order]
            value = float(evaluate_program(program, inside)) - flat
            moments.append(-side * (-1.0) ** j * math.factorial(j) * value)
        for t, jump in self.atoms:
            if side * (t - edge) > 0:
                moments = [m - jump * (t - edge) ** j for j, m in enumerate(moments)]
        return np.array(moments)


def _cell_moments(density: _Density, edges: Array) -> tuple[Array, Array]:
    """A reference point r of each cell and ``int_cell D(t) (t - r)^j dt``, j <= 3, shape (4, n).

    An outer cell may reach to infinity; there only the moments of order <= s are known, others NaN.
    """
    size, order = len(edges) - 1, density.s + 1
    inner = edges[np.isfinite(edges)]
    inner = inner if inner.size else np.zeros(1)
    ends = np.clip(edges, inner[0], inner[-1])
    open_left, open_right = np.isinf(edges[[0, -1]])
    references = np.where(
        np.diff(edges) < np.inf,
        (ends[1:] + ends[:-1]) / 2,
        np.where(edges[1:] < np.inf, ends[1:], ends[:-1]),
    )
    moments = np.zeros((4, size))
    if inner.size > 1:
        t, weights = _quadrature(density, inner)
        cell = np.searchsorted(inner, t) - (not open_left)
        shift = t - references[cell]
        sums = [np.bincount(cell, weights * shift**j, size) for j in range(4)]
        moments = np.array(sums, dtype=np.float64)
    for cell, edge, side, is_open in ((0, inner[0], -1, open_left), (-1, inner[-1], 1, open_right)):
        if is_open:
            moments[:order, cell] += density.tail_moments(float(edge), side)
            moments[order:, cell] = np.nan
    return references, moments


def _one_node(references: Array, moments: Array) -> tuple[Array, Array]:
    """The mean and the mass of each cell."""
    mass = np.where(moments[0] == 0, 1.0, moments[0])
    return references + moments[1] / mass, moments[0]


def _two_nodes(references: Array, moments: Array) -> tuple[Array, Array]:
    """The two-point Gauss rule of each cell."""
    mass = np.where(moments[0] == 0, 1.0, moments[0])
    first, second, third = moments[1:] / mass
    spread = np.sqrt(np.maximum(second - first**2, 0.0))
    spread = np.where(spread == 0, 1.0, spread)
    skewness = (third - 3 * first * second + 2 * first**3) / spread**3
    # Where the third moment is not known: as for an exponential, whose nodes are 2 +- sqrt(2), and
    # inside the half line for every density, since the spread is all the one moment missing tells.
    far = (1 + math.sqrt(2)) * spread / np.where(first == 0, 1.0, np.abs(first))
    skewness = np.where(np.isnan(skewness), np.sign(first) * (far - 1 / far), skewness)
    # the nodes, in units of the spread from the mean, are the roots of x^2 - skewness x - 1
    root = np.sqrt(skewness**2 + 4)
    right = np.where(skewness > 0, (skewness + root) / 2, 2 / (root - skewness))
    share = right**2 / (1 + right**2)  # of the left node, at -1 / right
    mean = references + first
    nodes = np.concatenate([mean - spread / right, mean + spread * right])
    return nodes, np.concatenate([moments[0] * share, moments[0] * (1 - share)])


def _quadrature(density: _Density, inner: Array) -> tuple[Array, Array]:
    """Nodes t and the weights of ``D(t) dt``: Gauss-Legendre on panels in v, t = sinh(v)."""
    low, high = np.arcsinh(inner[[0, -1]])
    kinks = [k.location for k in density.sigma.kinks if inner[0] < k.location < inner[-1]]
    steps = np.linspace(low, high, math.ceil((high - low) / _PANEL) + 1)
    ends = np.unique(np.concatenate([steps, np.arcsinh([*inner, *kinks])]))
    x, w = np.polynomial.legendre.leggauss(_NODES)
    half = np.diff(ends)[:, None] / 2
    v = (ends[:-1, None] + half * (1 + x)).reshape(-1)
    t = np.sinh(v)
    weights: Array = (half * w).reshape(-1) * np.cosh(v) * density(t)
    return t, weights


# -------------------------------------------------------------------- exact tails


def _dyadic(s: int, knots: Array, jumps: Array, first: Line, last: Line) -> DyadicSpline:
    empty = DyadicSpline(s, (), 0, (), 0, first.slope, first.intercept)
    rise = Fraction(last.slope) - empty.left_slope
    a = _knot_bits(s, len(knots)) - math.ceil(math.log2(max(1.0, float(np.max(np.abs(knots))))))
    b = _BITS - 2 - math.ceil(math.log2(float(np.max(np.abs(jumps)))))
    tau = [round(math.ldexp(t, a)) for t in knots]
    if s == 1:
        b = max(b, rise.denominator.bit_length() - 1)
        n = _steps_of_slopes(jumps, b, rise)
    else:
        points = np.concatenate([knots, (knots[1:] + knots[:-1]) / 2])
        n, tau = _with_exact_tail(jumps, tau, a, b, s, rise, points)
    if max(abs(x) for x in n).bit_length() > _BITS:
        raise UnreachableTargetError(
            f"given: lines of slopes {first.slope!r} and {last.slope!r} and {len(knots)} knots; "
            "expected: coefficients that doubles hold and that add up to the difference of the "
            "slopes; do: allow more particles, or use combination_kernel or spline_kernel"
        )
    return DyadicSpline(s, n, b, tuple(tau), a, first.slope, first.intercept)


def _knot_bits(s: int, count: int) -> int:
    """The bits of the knots tau_k that leave coefficients n_k about as much freedom.

    The admissible n are a lattice of dimension K - s and of determinant about tau^(s (s - 1) / 2):
    few knots on a fine grid have none near the coefficients wanted.
    """
    return int((_BITS - 1) / (1 + math.comb(s, 2) / max(count - s, 1)))


def _steps_of_slopes(jumps: Array, b: int, rise: Fraction) -> tuple[int, ...]:
    """Round the slopes between the knots, not their jumps: no error adds up, the last is exact."""
    slopes = [round(math.ldexp(x, b)) for x in np.cumsum(jumps)[:-1]]
    levels = [0, *slopes, int(rise * 2**b)]
    return tuple(y - x for x, y in itertools.pairwise(levels))


def _with_exact_tail(
    jumps: Array, tau: list[int], a: int, b: int, s: int, rise: Fraction, points: Array
) -> tuple[tuple[int, ...], list[int]]:
    n = nearest_dyadic(jumps, tau, a, b, s, rise, points)
    moment = Fraction((-1) ** (s - 1)) * rise / s * Fraction(2) ** (b + a * (s - 1))
    if s == 2 and sum(x * t for x, t in zip(n, tau, strict=True)) != moment:
        # the gaps share a factor that the moment lacks: one knot moves by one unit of the grid
        tau = [tau[0] - 1, *tau[1:]]
        n = nearest_dyadic(jumps, tau, a, b, s, rise, points)
    return n, tau
