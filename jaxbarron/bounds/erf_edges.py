"""Edges from erf into tanh, arctan, gaussian and softsign; chains do the rest between these.

erf is the middle of the bounded activations: the others embed in it by the heat equation
(:mod:`jaxbarron.bounds.heat_edges`), and it embeds in each of them by a kernel of its own.
"""

from __future__ import annotations

import functools
from typing import Any

import flint

from jaxbarron.activations import Activation
from jaxbarron.balls.series import working_precision
from jaxbarron.balls.suprema import upper_float
from jaxbarron.bounds.edge import Edge, make_edge
from jaxbarron.bounds.heat_edges import heat_cost
from jaxbarron.bounds.tiles import grid, integrals_of_modulus

__all__ = ["SOFTSIGN_PARTICLES", "correction", "gaussian_particles", "poisson", "strip"]

_BITS = 128
_ZERO = flint.fmpq(0)


def _is_pair(source: Activation, target: Activation, order: int, name: str) -> bool:
    return (source.name, target.name, order) == ("erf", name, 1)


def _slope(u: Any) -> Any:
    """The derivative of erf."""
    return 2 / flint.arb.pi().sqrt() * (-(u**2)).exp()


# ------------------------------------------------------------------------------- tanh

_NU = flint.fmpq(7, 5)
_STRIP_END = flint.fmpq(8)


def strip(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Strip: erf = tanh(nu .) * kappa, kappa from erf on the edge of a strip."""
    if not _is_pair(source, target, order, "tanh"):
        return None
    formula = "erf(z) = nu/pi int Im erf(t + i pi/(2 nu)) tanh(nu (z - t)) dt, nu = 7/5"
    return make_edge(source, target, order, "strip", _strip_cost(), "Theorem Strip", formula)


@functools.cache
def _strip_cost() -> float:
    with working_precision(_BITS):
        nu = flint.arb(_NU)
        height = flint.arb.pi() / (2 * nu)

        def jet(t: Any) -> tuple[Any, Any]:
            z = flint.acb(t, height)
            return z.erf().imag / height, _complex_slope(z).imag / height

        mass, moment = integrals_of_modulus(jet, grid(_ZERO, _STRIP_END, 1024))
        end = flint.arb(_STRIP_END)
        # |Im erf(t + i a)| <= (2/sqrt(pi)) a exp(a^2 - t^2), and t exp(-t^2) has an integral
        rest = _slope(end) * (height**2).exp() / (2 * end)
        mass, moment = mass + rest, moment + end * rest
        return upper_float((mass + nu * moment).max(nu * mass))


def _complex_slope(z: Any) -> Any:
    return 2 / flint.arb.pi().sqrt() * (-(z**2)).exp()


# ----------------------------------------------------------------------------- arctan

_DISTANCE = flint.fmpq(3, 5)


def poisson(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Poisson kernel: the harmonic extension of erf is made of arctan of all widths."""
    if not _is_pair(source, target, order, "arctan"):
        return None
    with working_precision(_BITS):
        distance, pi = flint.arb(_DISTANCE), flint.arb.pi()
        mass, first, rough, rough_first = _moments_of_erf()
        twice_log = 2 * flint.arb(2).log()
        near = 3 * mass + 5 * first / (2 * distance) + rough * distance**2
        near += twice_log * distance * rough_first
        far = 5 * mass / (2 * distance) + twice_log * distance * rough
        upper = upper_float(near.max(far) / pi)
    formula = (
        "erf = 2 F(T) - F(2 T) - int_0^(2 T) min(y, 2 T - y) F''(y) dy, "
        "F(y) = 1/pi int erf'(u) arctan((z - u)/y) du, F'' the same with erf''', T = 3/5"
    )
    return make_edge(source, target, order, "poisson", upper, "Theorem Poisson kernel", formula)


def _moments_of_erf() -> tuple[Any, Any, Any, Any]:
    """``int f', int |u| f', int |f'''|, int |u f'''|`` for f = erf, in closed form.

    f'' = -2 u f' has its extrema at -+1/sqrt(2); u f'' - f' is an antiderivative of u f'''.
    """
    root = flint.arb(2).sqrt() / 2
    at_root, at_zero = _slope(root), _slope(flint.arb(0))
    # f''(root) = -2 root f'(root), and u f'' - f' = -2 f' there, -f' at 0, 0 at infinity
    return flint.arb(2), at_zero, 8 * root * at_root, 2 * (4 * at_root - at_zero)


# --------------------------------------------------------------------------- gaussian

# r, theta, eta of Theorem Heat kernel on a reach; B, b, c of the pair of gaussians
_REACH = flint.fmpq(519, 1000)
_HEAT = flint.fmpq(91, 1000), flint.fmpq(102, 1000)
_PAIR = flint.fmpq(8734, 10000), flint.fmpq(7829, 10000), flint.fmpq(8523, 10000)
_TANGENT = flint.fmpq(8, 5)


def gaussian_particles(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Gaussian particles: erf at all scales below its own, and two gaussians near 0."""
    if not _is_pair(source, target, order, "gaussian"):
        return None
    formula = (
        "erf(z) - erf(a z) = 4/pi int_(sqrt(2) a)^(sqrt(2)) int c exp(-c^2) exp(-(x z - c)^2) dc "
        "dx/x, a = min(1, r/rho); erf(y) = B (exp(-(b y - c)^2) - exp(-(b y + c)^2)) + E(y) for "
        "|y| <= r, E by the heat kernel"
    )
    theorem = "Theorem Gaussian particles"
    upper = _gaussian_cost()
    return make_edge(source, target, order, "gaussian particles", upper, theorem, formula)


@functools.cache
def _gaussian_cost() -> float:
    with working_precision(_BITS):
        share, steep, shift = (flint.arb(x) for x in _PAIR)
        reach, start = flint.arb(_REACH), flint.arb(_TANGENT)
        remainder = _remainder_of_the_pair()
        # rho <= r: the pair alone
        near, far = 2 * share * (1 + shift), 2 * share * steep
        pi = flint.arb.pi()
        # log(rho/r) <= rho/x_0 - 1 + log(x_0/r)
        log_factor = 4 / pi * (1 + pi.sqrt() / 2)
        line = 4 / pi * flint.arb(2).sqrt()
        beyond = near + far * reach - line * reach + log_factor * ((start / reach).log() - 1)
        growth = line + log_factor / start
        worst = near.max(far).max(beyond).max(growth)
        if not remainder < 1:
            raise AssertionError("the remainder of the pair is not small")
        return upper_float(worst / (1 - remainder))


def _remainder_of_the_pair() -> Any:
    """Theorem Heat kernel on ``|y| <= r`` for ``E = erf - pair``, an odd function."""
    share, steep, shift = (flint.arb(x) for x in _PAIR)
    reach, theta, eta = flint.arb(_REACH), flint.arb(_HEAT[0]), flint.arb(_HEAT[1])

    def derivatives(u: Any) -> list[Any]:
        """E', ..., E'''' at u."""
        own = _gaussian_derivatives(u)
        left = _gaussian_derivatives(steep * u - shift)
        right = _gaussian_derivatives(steep * u + shift)
        factor = 2 / flint.arb.pi().sqrt()
        return [factor * own[k - 1] - share * steep**k * (left[k] - right[k]) for k in range(1, 5)]

    points = grid(_ZERO, _REACH, 256)
    mass, first = integrals_of_modulus(lambda u: (derivatives(u)[0], derivatives(u)[1]), points)
    rough, rough_first = integrals_of_modulus(
        lambda u: (derivatives(u)[2], derivatives(u)[3]), points
    )
    slope, bend = (abs(x) for x in derivatives(reach)[:2])
    mass += slope * eta / 2
    first += slope * (reach * eta / 2 + eta**2 / 6)
    rough += bend + 2 * slope / eta
    rough_first += reach * (bend + slope / eta) + (reach + eta) * slope / eta
    near, far = heat_cost((2 * mass, 2 * first, 2 * rough, 2 * rough_first), theta)
    return near + far * reach


def _gaussian_derivatives(z: Any) -> list[Any]:
    """``(-1)^k H_k(z) exp(-z^2)``, k = 0, ..., 4."""
    value = (-(z**2)).exp()
    square = z**2
    factors = [
        flint.arb(1),
        -2 * z,
        4 * square - 2,
        (12 - 8 * square) * z,
        (16 * square - 48) * square + 12,
    ]
    return [factor * value for factor in factors]


# --------------------------------------------------------------------------- softsign

# 2^16 c, alpha, t of the terms c (softsign(alpha (z - t)) + softsign(alpha (z + t))), halved for
# t = 0: the solution of a small linear program, rounded so that the sum of c/alpha is zero.
_UNIT = 1 << 16
SOFTSIGN_PARTICLES = tuple(
    (flint.fmpq(c, _UNIT), flint.fmpq(n, 8), flint.fmpq(k, 4))
    for c, n, k in (
        (12289, 1, 0), (-4432, 1, 12), (5688, 2, 0), (-3320, 2, 12), (-31536, 4, 6),
        (-13928, 4, 8), (39608, 8, 0), (28608, 8, 1), (22840, 8, 2), (7232, 8, 3), (376, 8, 12),
        (1968, 16, 6), (1064, 16, 8), (-2512, 32, 0), (-1792, 32, 1), (-1424, 32, 2),
        (-448, 32, 3), (-48, 32, 8), (-8, 32, 12),
    )
)  # fmt: skip
_WIDTH = flint.fmpq(7, 20)  # theta of the heat kernel
_NEAR, _FAR = 4, 1 << 16


def correction(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem Correction: a few particles of softsign, the rest by erf, and so on."""
    if not _is_pair(source, target, order, "softsign"):
        return None
    formula = (
        "erf = g + E, g the sum of 34 particles of softsign, E of erf by the heat kernel, "
        "and the same for these particles"
    )
    return make_edge(
        source, target, order, "correction", _softsign_cost(), "Theorem Correction", formula
    )


@functools.cache
def _softsign_cost() -> float:
    with working_precision(_BITS):
        near = sum((_count(t) * abs(c) * (1 + a * t) for c, a, t in SOFTSIGN_PARTICLES), _ZERO)
        far = sum((_count(t) * abs(c) * a for c, a, t in SOFTSIGN_PARTICLES), _ZERO)
        more, growth = heat_cost(_moments_of_the_rest(), flint.arb(_WIDTH))
        if not (more < 1 and growth < 1):
            raise AssertionError("the correction is no contraction")
        return upper_float((flint.arb(near) / (1 - more)).max(flint.arb(far) / (1 - growth)))


def _count(t: Any) -> int:
    return 2 if t else 1


def _moments_of_the_rest() -> tuple[Any, Any, Any, Any]:
    """Of E = erf - g: odd, so twice the half line; g'' jumps at the t."""
    places = sorted({t for _, _, t in SOFTSIGN_PARTICLES})
    points = grid(_ZERO, flint.fmpq(_NEAR), 128 * _NEAR, inner=places)
    ratio = flint.fmpq(65, 64)
    while points[-1] < _FAR:
        points.append(min(_simple(points[-1] * ratio), flint.fmpq(_FAR)))
    slopes, curvatures = (
        integrals_of_modulus(lambda u, k=k: (_rest(u, k), _rest(u, k + 1)), points) for k in (1, 3)
    )
    mass, first = (2 * (a + b) for a, b in zip(slopes, _beyond(1), strict=True))
    rough, rough_first = (2 * (a + b) for a, b in zip(curvatures, _beyond(3), strict=True))
    for place in places:
        jump = sum((4 * c * a**2 for c, a, t in SOFTSIGN_PARTICLES if t == place), _ZERO)
        rough += flint.arb(_count(place) * abs(jump))
        rough_first += flint.arb(_count(place) * abs(jump) * place)
    return mass, first, rough, rough_first


def _simple(x: Any) -> Any:
    """A rational of few digits near x."""
    return flint.fmpq(int(x * 64), 64)


def _rest(u: Any, k: int) -> Any:
    """The k-th derivative of E at u > 0, one-sided at the kinks; k from 1 to 4."""
    total = 2 / flint.arb.pi().sqrt() * _gaussian_derivatives(u)[k - 1]
    factorial = (1, 2, 6, 24)[k - 1]
    for c, alpha, t in SOFTSIGN_PARTICLES:
        shifts = (t, -t) if t else (t,)
        for shift in shifts:
            side = 1 if u.mid() > shift else -1
            distance = 1 + alpha * side * (u - flint.arb(shift))
            total -= c * alpha**k * (-side) ** (k - 1) * factorial / distance ** (k + 1)
    return total


def _beyond(k: int) -> tuple[Any, Any]:
    """What ``int |E^(k)|`` and ``int u |E^(k)|`` may add beyond the last tile, k = 1 or 3.

    A term is c/alpha (u + d)^-2, d = 1/alpha -+ t; the sum of c/alpha is zero, so u^-2 may be
    taken off each, and ``|(u + d)^-2 - u^-2| <= 2 |d| (u - |d|)^-3``.
    """
    end, total = flint.arb(_FAR), flint.arb(0)
    for c, alpha, t in SOFTSIGN_PARTICLES:
        shifts = (t, -t) if t else (t,)
        for shift in shifts:
            distance = flint.arb(abs(1 / alpha - shift))
            size, inner = flint.arb(abs(c / alpha)), 1 - distance / end
            if k == 1:
                total += size * 2 * distance / inner**3 / end  # int of u 2 |d| u^-3 ...
            else:
                total += size * 3 / inner**4 / end**2  # int of u 6 u^-4 ...
    total += 8 * end**4 * (-(end**2)).exp()  # of erf itself, amply
    return total / end, total
