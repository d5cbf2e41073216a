"""The finite spline kernel: K knots into RePU_s, s = 1, 2, 3, valid on the whole line."""

from __future__ import annotations

import math

import numpy as np

from jaxbarron.activations import Activation, Line, activation
from jaxbarron.errors import (
    NonFiniteError,
    ToleranceError,
    UnreachableTargetError,
    UsageError,
)
from jaxbarron.kernels.corners import corners
from jaxbarron.kernels.demand import check_demand
from jaxbarron.kernels.density import LIMIT_CONSTANTS, knot_mass, line_values
from jaxbarron.kernels.exact_tails import DyadicSpline, kernel_of_spline
from jaxbarron.kernels.knots import first_knots, optimised
from jaxbarron.kernels.rounding import estimated_error, rounded
from jaxbarron.kernels.spline_space import Array, Target
from jaxbarron.kernels.table import lookup
from jaxbarron.measures import ParticleMeasure
from jaxbarron.programs import evaluate_program

__all__ = ["build_spline", "spline_kernel", "spline_problem"]

# The least tolerance: functions are evaluated in doubles, and the fit needs room above rounding.
_LEAST_TOLERANCE = 1e-11
_MOST_KNOTS = 256
_MOST_ASKED = 1024  # the linear programs are dense: beyond, a kernel takes minutes and gigabytes
# The estimate of the error comes short of the true one by less than this share.
_MARGIN = 0.003


def spline_kernel(
    source: str | Activation,
    s: int,
    *,
    tol: float | None = None,
    particles: int | None = None,
    reach: float | None = None,
    left: Line | None = None,
    right: Line | None = None,
) -> ParticleMeasure:
    """A kernel from an activation to RePU_s by a spline of degree s with optimised knots.

    ``|sigma(z) - sum_k c_k RePU_s(alpha_k z + beta_k)| <= error`` for all real z if sigma has
    asymptotic lines at both ends, and for ``|z| <= reach`` if a reach is given (THEORY.md,
    Theorem Pinned tails).  On R the tails of the kernel are lines whose slopes are exactly those
    of sigma's lines (Theorem Exact tails); for s = 3 and slopes whose difference is no multiple
    of 3 no floats can do that: there the right slopes differ so little (< 2^-32) that the statement
    holds for ``|z| <= 2^20``.  The error is estimated here,
    to about one part in a thousand, and proved by :func:`jaxbarron.certified_kernel`.

    Args:
        source: sigma.
        s: the target is RePU_s; 1, 2 or 3.
        tol: the error to stay below with as few knots as possible.
        particles: instead of ``tol``: the most particles to use, with as small an error as
            possible.  One is spent on a non-zero constant of the left line, 2, 4 or 6 (s = 1, 2,
            3) on its slope; on a reach s + 1 on a polynomial; all others are knots.
        reach: the kernel is wanted on ``|z| <= reach`` only.
        left: the asymptotic line at -infinity, where the activation does not state it.
        right: the same at +infinity.

    Returns:
        A kernel, NumPy float64 leaves, shapes (n, 1), (n, 1), (n,); particles at knots first, in
        ascending order.

    Raises:
        UsageError: both or none of ``tol`` and ``particles``; s is not 1, 2 or 3; too few
            particles.
        ToleranceError: ``tol`` is not positive, or below what this kernel can hold.
        DomainError: ``reach`` is not positive and finite.
        UnreachableTargetError: sigma jumps (no continuous kernel is near it), or it tends to no
            line and no reach is given.

    Example:
        >>> kernel = spline_kernel("tanh", 1, tol=1e-2)
        >>> kernel.particles
        9
    """
    sigma = activation(source)
    _check(s, tol, particles, reach)
    # No function of a user's bears the name of a registered activation.
    ready = lookup(sigma.name, s, tol) if tol is not None and reach is None else None
    if ready is not None:
        return ready
    return kernel_of_spline(
        build_spline(sigma, s, tol=tol, particles=particles, reach=reach, left=left, right=right)
    )


def build_spline(
    sigma: Activation,
    s: int,
    *,
    tol: float | None = None,
    particles: int | None = None,
    reach: float | None = None,
    left: Line | None = None,
    right: Line | None = None,
) -> DyadicSpline:
    """The spline behind :func:`spline_kernel`, always optimised anew; arguments as there."""
    target, mass = _target(sigma, s, reach, left or sigma.left, right or sigma.right, tol)
    if tol is not None:
        return _smallest(target, mass, tol)
    assert particles is not None
    count = particles - _overhead(target)
    if count < target.fewest:
        raise UsageError(
            f"given: particles={particles}; expected: at least {target.fewest + _overhead(target)} "
            f"for {sigma.name} into RePU_{s}; do: allow more particles"
        )
    if count > _MOST_ASKED:
        raise UsageError(
            f"given: particles={particles}; expected: at most {_MOST_ASKED + _overhead(target)} "
            f"for {sigma.name} into RePU_{s}: all knots move together; do: a higher s needs "
            "fewer for the same error"
        )
    return rounded(optimised(target, _start(target, mass, count, 0.0)))


# ------------------------------------------------------------------ the problem


def _check(s: int, tol: float | None, particles: int | None, reach: float | None) -> None:
    if s not in LIMIT_CONSTANTS:
        raise UsageError(
            f"given: s={s!r}; expected: 1, 2 or 3; do: choose RePU_1, RePU_2 or RePU_3, and reach "
            "RePU_0 or a higher power through the Taylor kernel"
        )
    if (tol is None) == (particles is None):
        raise UsageError(
            f"given: tol={tol!r} and particles={particles!r}; expected: exactly one of them; do: "
            "give tol= for an error or particles= for a size"
        )
    check_demand(tol, None, reach)  # how few particles do depends on s
    if tol is not None and tol < _LEAST_TOLERANCE:
        raise ToleranceError(
            f"given: tol={tol!r}; expected: at least {_LEAST_TOLERANCE:g}, below which doubles do "
            "not hold a spline's error; do: raise tol"
        )


def _target(
    sigma: Activation,
    s: int,
    reach: float | None,
    left: Line | None,
    right: Line | None,
    tol: float | None,
) -> tuple[Target, tuple[Array, Array]]:
    bound = math.inf if reach is None else reach
    kinks = corners(sigma, s, bound)
    if any(corner.order == 0 for corner in kinks):
        raise UnreachableTargetError(
            f"given: {sigma.name}, which jumps, into RePU_{s}, which is continuous; expected: a "
            "continuous source; do: no kernel comes closer than half the jump; choose RePU_0"
        )
    if reach is None and (left is None or right is None):
        raise UnreachableTargetError(
            f"given: {sigma.name} on all of R, where it tends to no line; expected: an activation "
            "with asymptotic lines, or a reach; do: give reach=, the largest |z| that it meets"
        )

    lines = (left, right)

    def values(z: Array) -> Array:
        found = np.asarray(evaluate_program(sigma.program, z), dtype=np.float64)
        # z exp(z) / (1 + exp(z)) is inf / inf from 710 on, where sigma is its line
        return np.where(np.isfinite(found), found, line_values(z, *lines))

    lower = -bound
    if reach is not None:
        right = None
        # On a reach a left line pays only if it is zero and sigma is there by the time z = -reach.
        if left != Line(0.0, 0.0) or abs(float(values(np.array(-reach)))) > 0.1 * (tol or 0.0):
            left = None
            lower = -math.ldexp(math.ceil(math.ldexp(reach, 10)), -10)  # a knot: dyadic, below
    points, mass = knot_mass(sigma, s, lower, bound, lines)
    if not np.isfinite(values(points)).all():
        where = points[~np.isfinite(values(points))][0]
        raise NonFiniteError(
            f"given: {sigma.name}, which is not finite in floats at z = {where:.6g}; expected: "
            "finite values wherever the kernel is wanted; do: write it without exponentials that "
            "overflow, or give a smaller reach"
        )
    return Target(values, s, left, right, lower, bound, tuple(kinks)), (points, mass)


def spline_problem(sigma: Activation, s: int) -> tuple[Target, tuple[Array, Array], int]:
    """On all of R: the target, the knots' mass at points, and the particles that are no knots."""
    _check(s, None, 1, None)
    target, mass = _target(sigma, s, None, sigma.left, sigma.right, None)
    return target, mass, _overhead(target)


def _overhead(target: Target) -> int:
    """The particles that are not movable knots."""
    if target.left is None:
        return target.s + 1
    slope = 2 * target.s if target.left.slope else 0
    return slope + (not target.left_is_zero)


def _start(target: Target, mass: tuple[Array, Array], count: int, tol: float) -> Array:
    guess = tol or LIMIT_CONSTANTS[target.s] * float(mass[1][-1] / count) ** (target.s + 1)
    return first_knots(target, count, *mass, guess or 2.0**-10)


# --------------------------------------------------------- the smallest spline


def _smallest(target: Target, mass: tuple[Array, Array], tol: float) -> DyadicSpline:
    """The spline with the fewest knots whose error is at most ``tol``.

    The limit law gives the first guess, each result the next one; the search ends when K knots
    do and K - 1 do not.
    """
    goal, power = tol * (1 - _MARGIN), target.s + 1
    limit = LIMIT_CONSTANTS[target.s] * float(mass[1][-1]) ** power
    if (limit / tol) ** (1 / power) > _MOST_KNOTS:
        raise ToleranceError(
            f"given: tol={tol!r}, for which degree {target.s} needs about "
            f"{(limit / tol) ** (1 / power):.0f} knots; expected: at most {_MOST_KNOTS}; do: raise "
            "tol, or choose a higher s"
        )
    too_few, best, unheld = target.fewest - 1, None, _MOST_KNOTS
    count = max(target.fewest, round((limit / tol) ** (1 / power)))
    while best is None or too_few < best[0] - 1:
        count = min(count, _MOST_KNOTS)
        fit = optimised(target, _start(target, mass, count, tol), 0.99 * goal)
        spline = rounded(fit, goal) if fit.error <= goal else None
        if spline is not None and estimated_error(target, spline) <= goal:
            best = (count, spline)
        elif spline is not None and best is None and count > unheld:
            raise ToleranceError(
                f"given: tol={tol!r} for degree {target.s}; expected: a tolerance at which doubles "
                "hold the far knots of this activation's tails; do: raise tol, lower s, or give "
                "a reach"
            )
        elif count == _MOST_KNOTS:
            raise ToleranceError(
                f"given: tol={tol!r}; expected: a tolerance that {_MOST_KNOTS} knots reach (they "
                f"reach {fit.error:.3g}); do: raise tol"
            )
        else:
            too_few = count
        if spline is not None and best is None:
            unheld = min(unheld, count)
        predicted = math.ceil(count * (fit.error / goal) ** (1 / power))
        count = max(too_few + 1, predicted)
        if best is not None:
            count = min(count, best[0] - 1)
    return best[1]
