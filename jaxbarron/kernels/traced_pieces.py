"""The pieces of a kernel into RePU_s whose numbers JAX traces, in doubled precision.

The coefficients of a piece are sums over the particles that cancel in the tails: for s = 2 the
coefficient of z^2 of a line is 0 only to one rounding in ``sum |c_k|``, which is 14 at z = 12,000
in single precision.  They are summed as unevaluated pairs of floats.  Products are made of halves
whose products are exact, so it does not matter whether the compiler fuses them with a sum.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxbarron.kernels.pieces import Pieces
from jaxbarron.measures import ParticleMeasure

__all__ = ["traced_pieces"]

Pair = tuple[Any, Any]  # high + low, |low| <= half a unit in the last place of high
# Each of the s + 2 products and the log2 K sums of a pair errs by a few eps^2, relatively.
_RESOLUTION = 64.0


def traced_pieces(kernel: ParticleMeasure, s: int, dtype: Any) -> Pieces:
    """The pieces of ``z -> sum_k c_k (alpha_k z + beta_k)_+^s``, s >= 1, for a traced kernel.

    As :func:`jaxbarron.kernels.pieces.exact_pieces`, with K + 1 pieces, the coefficients of order
    >= 2 of the two tails set to 0 where they are 0 to the resolution of the sum.  Differentiable in
    the arrays of the kernel.
    """
    c, alpha, beta = (
        jnp.asarray(x, dtype).reshape(-1)
        for x in (kernel.weights, kernel.directions, kernel.offsets)
    )
    flat = alpha == 0
    knots = jnp.where(flat, 0, -beta / jnp.where(flat, 1, alpha))
    order = jnp.argsort(jax.lax.stop_gradient(knots))
    c, alpha, beta, knots = (x[order] for x in (c, alpha, beta, jax.lax.stop_gradient(knots)))
    middles = knots[:-1] / 2 + knots[1:] / 2
    centres = jnp.concatenate([knots[:1], middles, knots[-1:]])
    count = c.shape[0]
    right_of = jnp.arange(count + 1)[:, None] > jnp.arange(count)  # piece p, knot k < p
    active = jnp.where(alpha > 0, right_of, jnp.where(alpha < 0, ~right_of, beta > 0))
    table = _coefficients(s, active, centres, c, alpha, beta)
    return Pieces(tuple(knots), tuple(centres), tuple(tuple(row) for row in table))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _coefficients(s: int, active: Any, centres: Any, c: Any, alpha: Any, beta: Any) -> Any:
    """``binom(s, j) sum_k c_k alpha_k^j (alpha_k b + beta_k)^(s-j)``, k active: (P, s + 1)."""
    eps = float(jnp.finfo(c.dtype).eps)
    at_centre = _add(_product(alpha, centres[:, None]), (beta, jnp.zeros_like(beta)))
    rows: Pair = (c, jnp.zeros_like(c))  # c alpha^j
    powers = [at_centre]  # (alpha b + beta)^1, ..., ^s
    for _ in range(s - 1):
        powers.append(_times(powers[-1], at_centre))
    terms: list[Pair] = []
    for j in range(s + 1):
        terms.append(_times(rows, powers[s - j - 1]) if j < s else rows)
        rows = _times(rows, (alpha, jnp.zeros_like(alpha)))
    stacked = [jnp.stack([jnp.where(active, term[half], 0) for term in terms]) for half in (0, 1)]
    high, low = _sum((stacked[0], stacked[1]))
    total = high + low
    size = jnp.abs(stacked[0]).sum(-1)
    order = jnp.arange(s + 1)[:, None]
    piece = jnp.arange(active.shape[0])
    tail = (order >= 2) & ((piece == 0) | (piece == piece[-1]))
    total = jnp.where(tail & (jnp.abs(total) <= _RESOLUTION * eps**2 * size), 0, total)
    return (jnp.asarray([math.comb(s, j) for j in range(s + 1)], c.dtype)[:, None] * total).T


@_coefficients.defjvp
def _coefficients_jvp(s: int, primals: Any, tangents: Any) -> Any:
    """The value in doubled precision, the derivative of the plain sum in the dtype itself."""
    active, centres, c, alpha, beta = primals

    def plain(c: Any, alpha: Any, beta: Any) -> Any:
        y = alpha * centres[:, None] + beta
        terms = [math.comb(s, j) * c * alpha**j * y ** (s - j) for j in range(s + 1)]
        return jnp.stack([jnp.where(active, x, 0).sum(1) for x in terms], axis=1)

    _, tangent = jax.jvp(plain, (c, alpha, beta), tuple(tangents[2:]))
    return _coefficients(s, *primals), tangent


# ------------------------------------------------------- pairs of floats


def _two_sum(a: Any, b: Any) -> Pair:
    """``a + b``, exactly."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def _add(x: Pair, y: Pair) -> Pair:
    high, low = _two_sum(x[0], y[0])
    return _two_sum(high, low + (x[1] + y[1]))


def _halves(a: Any) -> Pair:
    info = jnp.finfo(a.dtype)
    high = jax.lax.reduce_precision(a, info.nexp, (info.nmant - 1) // 2)
    return high, a - high


def _product(a: Any, b: Any) -> Pair:
    """``a * b`` to twice the precision: the four products of the halves are exact."""
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    high, first = _two_sum(a1 * b1, a1 * b2)
    high, second = _two_sum(high, a2 * b1)
    high, third = _two_sum(high, a2 * b2)
    return _two_sum(high, first + (second + third))


def _times(x: Pair, y: Pair) -> Pair:
    high, low = _product(x[0], y[0])
    return _two_sum(high, low + (x[0] * y[1] + x[1] * y[0]))


def _sum(x: Pair) -> Pair:
    """The sum along the last axis, by halves."""
    high, low = x
    while high.shape[-1] > 1:
        if high.shape[-1] % 2:
            high, low = (jnp.concatenate([v, jnp.zeros_like(v[..., :1])], -1) for v in (high, low))
        high, low = _add((high[..., ::2], low[..., ::2]), (high[..., 1::2], low[..., 1::2]))
    return high[..., 0], low[..., 0]
