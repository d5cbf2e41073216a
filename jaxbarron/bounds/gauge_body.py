"""The convex body of moments that dual measures may have, and its gauge by exact maxima.

For moments ``M_k = int y^k dnu`` of a measure nu on [-1, 1] and the particle (alpha y + beta)^s,
``Q_M(alpha, beta) = sum_k binom(s, k) alpha^k beta^(s-k) M_k``.  The body holds the M with
``|Q_M| <= price``: the weight V where the kink lies outside (-1, 1), twice the weight where it lies
inside (Theorem Interval norm).  Particles are normalised to alpha = 1 - |x|, beta = x with x in
[-1, 1]: the kink lies inside where |x| < 1/2, and x = +-1 is the constant.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, get_args

import flint
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbarron.balls.series import working_precision
from jaxbarron.balls.suprema import upper_float
from jaxbarron.balls.weights import evaluate
from jaxbarron.bounds.polynomial_roots import real_roots
from jaxbarron.errors import NonFiniteError, UsageError
from jaxbarron.norms import Weight

__all__ = ["GaugeBody", "rigorous_gauge"]

_BITS = 128
_GRID = 12  # nodes on each of the four arcs: kinks inside and outside, on both sides
_FEW = 6  # likewise, where few digits are asked for
_ROUNDING = 64  # units of rounding that the gauge is raised by


@dataclass(frozen=True)
class GaugeBody:
    """The body for RePU_s on [-1, 1] and one weight.

    Attributes:
        s: the power, 0 to 4.
        weight: ``"homogeneous"``, ``"l2"`` or ``"bias_free"`` (THEORY.md, Norm of a measure).  For
            ``"bias_free"`` and s >= 1 polynomials of degree < s cost nothing, so that every moment
            but M_s is zero.

    Raises:
        UsageError: another s or weight.

    Example:
        >>> body = GaugeBody(1)
        >>> round(float(body.gauge(jnp.array([1.0, 0.0]))), 4)  # the constant costs 1
        1.0
    """

    s: int
    weight: Weight = "homogeneous"

    def __post_init__(self) -> None:
        if isinstance(self.s, bool) or not isinstance(self.s, int) or not 0 <= self.s <= 4:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(
                f"given: s={self.s!r}; expected: a whole number from 0 to 4; do: e.g. s=2"
            )
        if self.weight not in get_args(Weight):
            raise UsageError(
                f"given: weight={self.weight!r}; expected: one of {', '.join(get_args(Weight))}; "
                "do: 'homogeneous' is the weight of RePU_s"
            )
        if self.weight == "total_variation" and self.s > 0:
            raise UsageError(
                f"given: weight='total_variation' with s={self.s}; expected: a weight of degree s: "
                "c (u z)_+^s has total variation c, however large u is, so that every norm is 0; "
                "do: use 'bias_free', 'l2' or 'homogeneous'"
            )

    @property
    def kept(self) -> tuple[int, ...]:
        """The k for which M_k may differ from 0."""
        return (self.s,) if self.weight == "bias_free" else tuple(range(self.s + 1))

    @property
    def size(self) -> int:
        """How many moments are kept: the number of variables of the dual."""
        return len(self.kept)

    @functools.cached_property
    def binomials(self) -> np.ndarray:
        """``binom(s, k)`` for the kept k."""
        return np.array([math.comb(self.s, k) for k in self.kept], np.float64)

    def atoms(self, x: Float[Array, " n"]) -> Float[Array, "n k"]:
        """``binom(s, k) alpha^k beta^(s-k)``: the particle at x as a functional of M."""
        alpha, beta = 1 - jnp.abs(x), x
        return jnp.stack(
            [
                c * alpha**k * beta ** (self.s - k)
                for c, k in zip(self.binomials, self.kept, strict=True)
            ],
            axis=-1,
        )

    def prices(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """What (alpha y + beta)^s costs: V, or 2 V where it takes two particles."""
        alpha, beta = 1 - jnp.abs(x), jnp.abs(x)
        doubled = jnp.where((beta < alpha) & (self.s > 0), 2, 1).astype(x.dtype)
        if self.weight == "bias_free":
            return doubled * alpha**self.s
        if self.weight == "l2":
            return doubled * (alpha**2 + beta**2) ** (self.s / 2)
        return doubled * jnp.ones_like(x)

    @functools.cached_property
    def nodes(self) -> np.ndarray:
        """A fixed grid of x whose constraints come near the body, with all its corners."""
        return self._grid(_GRID)

    @functools.cached_property
    def few_nodes(self) -> np.ndarray:
        """A coarser grid with all corners; s = 1, homogeneous: there is nothing but corners."""
        return self._grid(1 if self.s == 1 and self.weight == "homogeneous" else _FEW)

    def _grid(self, count: int) -> np.ndarray:
        if self.weight == "bias_free" or self.s == 0:
            return np.array([0.5])
        arc = (1 - np.cos(np.pi * np.arange(count + 1) / count)) / 4
        half = np.concatenate([arc, 0.5 + arc[1:]])
        return np.concatenate([-half[:0:-1], half])

    @functools.cached_property
    def basis(self) -> tuple[np.ndarray, np.ndarray]:
        """x of as many particles as there are moments, and the inverse of their atoms."""
        if self.size == 1:
            return np.array([0.5]), np.array([[1 / 0.5**self.s]])
        x = np.linspace(-1, 1, self.size + 1)[1:]
        # the same monomials as in atoms, in NumPy: this is a constant of every trace
        rows = [
            c * (1 - np.abs(x)) ** k * x ** (self.s - k)
            for c, k in zip(self.binomials, self.kept, strict=True)
        ]
        return x, np.linalg.inv(np.stack(rows))

    def polynomial(self, moments: Float[Array, " k"]) -> Float[Array, " n"]:
        """The coefficients of ``Q_M(t)``, alpha = 1 and beta = -t, constant first."""
        total = jnp.zeros(self.s + 1, moments.dtype)
        for index, (c, k) in enumerate(zip(self.binomials, self.kept, strict=True)):
            total = total.at[self.s - k].set(c * (-1) ** (self.s - k) * moments[index])
        return total

    @functools.cached_property
    def _slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """Maps from M to the polynomials in x that vanish where |Q_M|/price is critical."""
        maps: list[np.ndarray] = []
        for side in (-1, 1):
            columns: list[np.ndarray] = []
            for c, k in zip(self.binomials, self.kept, strict=True):
                p = np.polynomial.Polynomial([1, -side]) ** k
                p = c * p * np.polynomial.Polynomial([0, 1]) ** (self.s - k)
                w = np.polynomial.Polynomial([1, -2 * side, 2] if self.weight == "l2" else [1])
                d = p.deriv() * w - self.s / 2 * w.deriv() * p
                columns.append(np.pad(d.coef, (0, 2 * self.s + 2))[: self.s + 1])
            maps.append(np.stack(columns, axis=1))
        return maps[0], maps[1]

    def critical(self, moments: Float[Array, " k"]) -> Float[Array, " m"]:
        """The x in (-1, 0) and (0, 1) where ``|Q_M| / V`` may have a smooth maximum, padded."""
        if self.size == 1:
            return jnp.zeros(0, moments.dtype)
        matrices = jnp.asarray(np.stack(self._slopes), moments.dtype)
        degree = self.s + 1 if self.weight == "l2" else self.s
        left = matrices[0] @ moments
        # mirrored to (0, 1): one search for both sides
        mirrored = left * (-1.0) ** np.arange(self.s + 1)
        both = jnp.stack([mirrored, matrices[1] @ moments])[:, :degree]
        found = jax.vmap(lambda p: real_roots(p, 0.0, 1.0))(both)
        return (found * jnp.asarray([[-1.0], [1.0]], moments.dtype)).reshape(-1)

    def ratios(self, moments: Float[Array, " k"], x: Float[Array, " n"]) -> Float[Array, " n"]:
        """``|Q_M| / price`` at each x."""
        # 12 products a row: a matrix product in the caller's precision on every machine
        return jnp.abs(jnp.sum(self.atoms(x) * moments, axis=-1)) / self.prices(x)

    def gauge(self, moments: Float[Array, " k"]) -> Float[Array, ""]:
        """The least g with M in g times the body, to rounding, and raised by that rounding."""
        return self.gauge_at(moments, self.critical(moments))

    def gauge_at(
        self, moments: Float[Array, " k"], critical: Float[Array, " m"]
    ) -> Float[Array, ""]:
        """The same where :meth:`critical` was called already."""
        corners = jnp.asarray(self.nodes, moments.dtype)
        points = jnp.concatenate([corners, critical])
        eps = jnp.finfo(moments.dtype).eps
        return jnp.max(self.ratios(moments, points)) * (1 + _ROUNDING * eps)


def rigorous_gauge(body: GaugeBody, moments: Any) -> float:
    """An upper bound of the gauge of M, the stored floats taken as exact numbers.

    The critical points are balls that hold every real root of a rational polynomial.

    Raises:
        NonFiniteError: a moment is NaN or infinite.

    Example:
        >>> 0 <= rigorous_gauge(GaugeBody(2), [0.0, 0.0, 1.0]) - 0.5 < 1e-15  # y^2 costs 2
        True
    """
    values = [float(m) for m in moments]
    if not all(map(math.isfinite, values)):
        raise NonFiniteError(
            f"given: moments {values}; expected: {body.size} finite numbers; do: look for the step "
            "that made them"
        )
    exact = [flint.fmpq(*m.as_integer_ratio()) for m in values]
    with working_precision(_BITS):
        largest = flint.arb(0)
        for side in (-1, 1):
            largest = largest.max(_largest_on_side(body, exact, side))
        return upper_float(largest)


def _largest_on_side(body: GaugeBody, moments: list[Any], side: int) -> Any:
    """sup of |Q_M| / price over the particles with ``side * beta >= 0``."""
    x = flint.fmpq_poly([0, 1])
    alpha = 1 - x  # x = |beta|
    q = flint.fmpq_poly([0])
    for m, k in zip(moments, body.kept, strict=True):
        q += math.comb(body.s, k) * m * alpha**k * (side * x) ** (body.s - k)
    square = flint.fmpq_poly([1, -2, 2]) if body.weight == "l2" else flint.fmpq_poly([1])
    slope = 2 * q.derivative() * square - body.s * square.derivative() * q
    half, one = flint.arb(flint.fmpq(1, 2)), flint.arb(1)
    largest = flint.arb(0)
    if body.weight == "bias_free":  # Q_M is M_s alpha^s and the price alpha^s: no maximum to seek
        return abs(flint.arb(moments[0]))
    candidates = [flint.arb(0), half, one]
    if slope != 0 and slope.degree() > 0:
        roots: Any = slope.complex_roots()
        for root, _ in roots:
            if root.imag.contains(0) and not (root.real < 0 or root.real > 1):
                candidates.append(root.real)
    for point in candidates:
        size = evaluate(square.coeffs(), point) ** flint.fmpq(body.s, 2)
        value = abs(evaluate(q.coeffs(), point)) / size
        # a root that may lie on either side of 1/2 is charged the lower price
        inside = body.s > 0 and bool(point < half)
        largest = largest.max(value / 2 if inside else value)
    return largest
