"""The certified error of a kernel: ``sup |sigma - kappa|`` on an interval or on all of R.

THEORY.md, Theorem Kernel error: between the knots Taylor models with branch and bound, beyond a
point T the tail calculus, where the slopes of both lines must agree exactly.  Nothing here knows
how the kernel was found.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import flint
import numpy as np
from numpy.typing import ArrayLike

from jaxbarron.balls.envelopes import HalfLine, TailPolynomial, Unknown
from jaxbarron.balls.series import LocalSeries, known_coefficients, local_series, working_precision
from jaxbarron.balls.suprema import Piece, lower_float, supremum, upper_float
from jaxbarron.balls.tails import linear_argument, tail_jet
from jaxbarron.bounds.replacements import Composite, Particle, Replacement, Spline
from jaxbarron.errors import DomainError, NonFiniteError, ShapeError, UsageError
from jaxbarron.programs import Program

__all__ = ["KernelError", "kernel_error"]

_BITS = 192
_DOUBLINGS = 80  # a tail that is no good so far out is given up
_FLOOR = 1e-28
MOST_DERIVATIVES = 10
_SERIES = 24  # coefficients beyond the derivative's order that any search here asks for
_WIDE_GAP = 4


@dataclass(frozen=True)
class KernelError:
    """``lower <= sup over |z| <= reach of |d^j/dz^j (sigma - kappa)| <= upper``.

    Attributes:
        lower: a rigorous lower bound of the supremum.
        upper: a rigorous upper bound; inf where the error is unbounded or no bound was found.
        where: a point near which ``lower`` is attained (+-inf: in the limit).
        level: always ``"rigorous"``: outward-rounded enclosures of the stored floats' real meaning.
        reach: the claim is about ``|z| <= reach``; inf for the whole real line.
        derivative: the order j.
        reason: why ``upper`` is infinite; empty otherwise.
    """

    lower: float
    upper: float
    where: float
    reach: float
    derivative: int = 0
    level: Literal["rigorous"] = "rigorous"
    reason: str = ""


def kernel_error(
    source: Program,
    target: Program,
    weights: ArrayLike,
    directions: ArrayLike,
    offsets: ArrayLike,
    *,
    reach: float = math.inf,
    derivative: int = 0,
    rel: float = 1e-3,
    splits: Sequence[float] = (),
    target_homogeneity: int | None = None,
    target_splits: Sequence[float] = (),
    max_evaluations: int = 20_000,
) -> KernelError:
    """``sup |sigma^(j)(z) - kappa^(j)(z)|``, ``kappa(z) = sum_k c_k tau(alpha_k z + beta_k)``.

    Theorem Kernel error.  The statement is about the real functions that the programs and the
    stored floats define.  Where a derivative jumps, the supremum is over the points at which
    it exists.

    Args:
        source: sigma.
        target: tau.
        weights: the c_k, shape (n,) or (n, 1), finite.
        directions: the alpha_k, shape (n,) or (n, 1), finite.
        offsets: the beta_k, shape (n,), finite.
        reach: the interval is ``[-reach, reach]``; inf for all of R, which needs asymptotic lines
            of exactly equal slopes.
        derivative: j >= 0; below s for ``tau = RePU_s`` (j = 0 for s = 0).
        rel: aim at ``upper <= lower * (1 + rel)``, from 1e-6 to 1.
        splits: the kinks of sigma, where known: quicker, and tight for kinks that match.
        target_homogeneity: s if tau is exactly RePU_s (``RePU_0(0) = 0``): the kernel is then
            handled as a spline with rational polynomials, and ``target`` is not looked at.
        target_splits: the kinks of any other tau, where known.
        max_evaluations: limit on the tiles of each search; the bounds are true at any limit.

    Raises:
        ShapeError: the arrays disagree, or there is no particle.
        NonFiniteError: a weight, direction or offset is NaN or infinite.
        DomainError: ``reach`` is not positive.
        UsageError: ``derivative`` is negative, above 10, or too high for the target.
        ToleranceError: ``rel`` is out of range.

    Example:
        >>> import jax
        >>> from jaxbarron.programs import trace
        >>> gelu = trace(lambda z: jax.nn.gelu(z, approximate=False))
        >>> relu = trace(jax.nn.relu)
        >>> found = kernel_error(gelu, relu, [1.0], [1.0], [0.0], target_homogeneity=1)
        >>> found.lower <= 0.16997121 <= found.upper <= 0.1702
        True
    """
    if derivative > MOST_DERIVATIVES:
        raise UsageError(
            f"given: derivative={derivative}; expected: at most {MOST_DERIVATIVES}, since the cost "
            "of the tails doubles with each order; do: certify a lower order"
        )
    particles = _particles(weights, directions, offsets)
    if not reach > 0:
        raise DomainError(
            f"given: reach={reach}; expected: a positive number or inf; do: e.g. reach=8.0"
        )
    highest = math.inf if target_homogeneity is None else max(target_homogeneity - 1, 0)
    if not 0 <= derivative <= highest:
        raise UsageError(
            f"given: derivative={derivative}; expected: an order from 0 to {highest}, up to which "
            "the target's derivatives are continuous; do: lower the order or take a smoother target"
        )
    if target_homogeneity is None and target == source and _is_identity(particles):
        return KernelError(0.0, 0.0, 0.0, reach, derivative)
    with working_precision(_BITS, derivative + _SERIES):
        kappa: Replacement = (
            Composite(particles, target, target_splits)
            if target_homogeneity is None
            else Spline(particles, target_homogeneity)
        )
        return _Claim(source, kappa, reach, derivative, rel, max_evaluations).bracket(splits)


def _exact(value: float) -> Any:
    return flint.fmpq(*float(value).as_integer_ratio())


def _particles(weights: ArrayLike, directions: ArrayLike, offsets: ArrayLike) -> list[Particle]:
    arrays = [np.asarray(x, dtype=np.float64) for x in (weights, directions, offsets)]
    flat = [a.reshape(-1) if a.ndim == 1 or a.shape[1:] == (1,) else a for a in arrays]
    if any(a.ndim != 1 or a.shape != flat[0].shape for a in flat) or flat[0].size == 0:
        raise ShapeError(
            f"given: weights, directions and offsets of shapes {[a.shape for a in arrays]}; "
            "expected: n >= 1 numbers each, shapes (n,) or (n, 1); do: pass a kernel's leaves"
        )
    if not all(np.isfinite(a).all() for a in flat):
        raise NonFiniteError(
            "given: a kernel with NaN or infinite numbers; expected: finite floats; "
            "do: check how the kernel was built"
        )
    exact = [[_exact(x) for x in a] for a in flat]
    return [Particle(c, a, b) for c, a, b in zip(*exact, strict=True) if c != 0]


def _is_identity(particles: Sequence[Particle]) -> bool:
    return len(particles) == 1 and all(
        x == y for x, y in zip(vars(particles[0]).values(), (1, 1, 0), strict=True)
    )


@dataclass(frozen=True, eq=False)
class _Tail:
    """g(z) for |z| >= start on one side: a polynomial in x = |z|, up to ``bound``."""

    start: Any
    polynomial: TailPolynomial
    bound: Any

    @property
    def offset(self) -> Any:
        return flint.arb(self.polynomial.coefficient(0))

    @property
    def decays(self) -> bool:
        envelope = self.polynomial.envelope
        return envelope.power < 0 or envelope.rate > 0


class _Claim:
    """g = sigma^(j) - kappa^(j) on [-reach, reach]."""

    def __init__(
        self,
        source: Program,
        kappa: Replacement,
        reach: float,
        order: int,
        rel: float,
        max_evaluations: int,
    ) -> None:
        self.source = source
        self.kappa = kappa
        self.end = None if math.isinf(reach) else _exact(reach)
        self.order = order
        self.rel = rel
        self.max_evaluations = max_evaluations
        self.best = KernelError(0.0, 0.0, 0.0, reach, order)

    def bracket(self, splits: Sequence[float]) -> KernelError:
        places = {_exact(t) for t in splits} | set(self.kappa.knots)
        core = flint.fmpq(1)
        while any(core < abs(t) for t in places):
            core *= 2
        edge = core if self.end is None else min(core, self.end)
        self._search(self._pieces(-edge, edge, places))
        if isinstance(self.kappa, Spline) and self.kappa.s == 0:
            self._values_at_jumps()
        if self.end is None or edge < self.end:
            for side in (1, -1):
                self._one_side(side, core)
        return self.best

    # ------------------------------------------------------------- interior

    def _model(self, piece: int) -> Callable[[Any, int], LocalSeries]:
        source, kappa, order = self.source, self.kappa, self.order

        def model(ball: Any, length: int) -> LocalSeries:
            total = length + order
            ours = local_series(source, flint.arb_series([ball, 1], prec=total), ball)
            theirs = kappa.series(piece, ball, total)
            coefficients = [
                a - b for a, b in zip(ours.coefficients, theirs.coefficients, strict=True)
            ]
            smooth = ours.smooth and theirs.smooth
            if not order:
                return LocalSeries(coefficients, smooth, ours.open_ends or theirs.open_ends)
            if not smooth and ball.is_exact():
                # On a kink the run follows one branch; the derivative there need not exist.
                return LocalSeries([flint.arb("nan")] * length, False, False)
            # Ends where only a comparison changes need no look: where the derivative exists
            # there, it is its own limit from within (mean value theorem).
            scaled = [coefficients[k + order] * math.perm(k + order, order) for k in range(length)]
            return LocalSeries(scaled, smooth, False)

        return model

    def _pieces(self, start: Any, end: Any, places: set[Any]) -> list[Piece]:
        inner = {t for t in places if start < t < end}
        ends = sorted({start, end} | inner)
        # Geometric cuts of wide gaps: one tile cannot see both 1 and 10**6 sharply.
        power = flint.fmpq(1)
        while power < max(end, -start):
            for cut in (power, -power):
                position = bisect.bisect(ends, cut)
                if 0 < position < len(ends) and ends[position] - ends[position - 1] > _WIDE_GAP:
                    inner.add(cut)
            power *= 2
        ends = sorted({start, end} | inner)
        pieces: list[Piece] = []
        for a, b in itertools.pairwise(ends):
            index = bisect.bisect_right(self.kappa.knots, a)
            pieces.append(Piece(a, b, self._model(index)))
        return pieces

    def _search(self, pieces: Sequence[Piece]) -> None:
        found = supremum(
            pieces, rel=self.rel, known=self.best.lower, max_evaluations=self.max_evaluations
        )
        self._take(found.lower, found.upper, found.where)
        if math.isinf(found.upper):
            self._fail(f"no finite bound was found near z = {found.where:g}")

    def _take(self, lower: float, upper: float, where: float) -> None:
        best = self.best
        if lower > best.lower:
            best = replace(best, lower=lower, where=where)
        self.best = replace(best, upper=max(best.upper, upper, lower))

    def _fail(self, reason: str) -> None:
        self.best = replace(self.best, upper=math.inf, reason=self.best.reason or reason)

    def _values_at_jumps(self) -> None:
        """RePU_0 jumps: the value at a knot may be that of neither side."""
        assert isinstance(self.kappa, Spline)
        for knot in self.kappa.knots:
            if self.end is None or abs(knot) <= self.end:
                ball = flint.arb(knot)
                value = local_series(self.source, flint.arb_series([ball, 1], prec=2), ball)
                error = value.coefficients[0] - flint.arb(self.kappa.value(knot))
                self._take(lower_float(error), upper_float(error), float(ball))

    # ----------------------------------------------------------------- tails

    def _one_side(self, side: int, core: Any) -> None:
        """Beyond the core, which ends past all knots: a stretch of pieces, then the tail."""
        name = "left" if side < 0 else "right"
        tail = self._find_tail(side, core)
        if self.end is None:
            if isinstance(tail, Unknown):
                self._fail(f"no asymptotic line could be proved on the {name}: {tail.reason}")
                return
            self._take_limit(tail, side, name)
        elif isinstance(tail, _Tail) and self._is_sharp(tail):
            self._take_stretch(tail, side, self.end)
        end: Any = self.end  # without a sharp tail a bounded interval is searched to its end
        if isinstance(tail, _Tail) and (end is None or self._is_sharp(tail)):
            end = tail.start
        if core < end and math.isfinite(self.best.upper):
            start, stop = sorted((side * core, side * end))
            self._search(self._pieces(start, stop, set()))

    def _find_tail(self, side: int, core: Any) -> _Tail | Unknown:
        """The nearest start, doubling, from which the tail's remainder no longer matters."""
        found: _Tail | Unknown = Unknown("the interval ends first")
        start = core
        for _ in range(_DOUBLINGS):
            if self.end is not None and start >= self.end:
                break
            previous, found = found, self._tail(side, start)
            if self._is_sharp(found):
                return found
            if isinstance(found, _Tail) and isinstance(previous, _Tail) and not found.decays:
                return previous  # bounded, as sin and cos: farther out is no better
            start *= 2
        return found

    def _is_sharp(self, tail: _Tail | Unknown) -> bool:
        if isinstance(tail, Unknown):
            return False
        bound = upper_float(tail.bound)
        known = max(self.best.lower, lower_float(tail.offset) - bound)
        return bound <= max(known * self.rel / 2, _FLOOR)

    def _tail(self, side: int, start: Any) -> _Tail | Unknown:
        half = HalfLine(start)
        ours = tail_jet(self.source, half, linear_argument(half, side, 1, 0, self.order))
        if isinstance(ours, Unknown):
            return ours
        theirs = self.kappa.tail(half, side, self.order)
        if isinstance(theirs, Unknown):
            return theirs
        difference = half.subtract(ours[self.order], theirs[self.order])
        factorial = half.constant(flint.fmpq(math.factorial(self.order)))
        difference = half.multiply(factorial, difference)
        bound = half.bound(difference.envelope)
        return _Tail(start, difference, bound) if bound.is_finite() else Unknown("growth")

    def _take_limit(self, tail: _Tail, side: int, name: str) -> None:
        """All of |z| >= tail.start, where the polynomial has to be a constant."""
        degree = tail.polynomial.degree
        if degree == 0:
            offset, bound = tail.offset, upper_float(tail.bound)
            lower = math.nextafter(lower_float(offset) - bound, -math.inf)
            self._take(lower, _sum_up(upper_float(offset), bound), side * math.inf)
            return
        leading = flint.arb(tail.polynomial.coefficients[-1])
        if leading != 0:
            self._take(math.inf, math.inf, side * math.inf)
            self._fail(
                f"the asymptotes on the {name} differ by {float(leading):.3g} z**{degree}: "
                "the error grows without bound"
            )
        else:
            self._fail(f"the slopes on the {name} are not known exactly, so they may differ")

    def _take_stretch(self, tail: _Tail, side: int, end: Any) -> None:
        """tail.start <= |z| <= end: the largest value of the polynomial, and the remainder."""
        piece = Piece(tail.start, end, _polynomial_model(tail.polynomial))
        found, bound = supremum([piece], rel=self.rel), upper_float(tail.bound)
        lower = math.nextafter(found.lower - bound, -math.inf)
        self._take(lower, _sum_up(found.upper, bound), side * found.where)


def _sum_up(a: float, b: float) -> float:
    return math.nextafter(a + b, math.inf) if a and b else a + b


def _polynomial_model(polynomial: TailPolynomial) -> Callable[[Any, int], LocalSeries]:
    coefficients = [flint.arb(c) for c in polynomial.coefficients]

    def model(ball: Any, length: int) -> LocalSeries:
        argument = flint.arb_series([ball, 1], prec=length)
        result = flint.arb_series([], prec=length)
        for c in reversed(coefficients):
            result = result * argument + c
        return LocalSeries(known_coefficients(result, length), True, False)

    return model
