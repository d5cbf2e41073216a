"""The constants T_s of the Taylor kernel in closed form, beside quadrature by mpmath.

The peer is what one writes without this library: ``mpmath.diff`` for sigma^(s+1) at 25 digits, its
sign changes found on a grid and polished by ``mpmath.findroot``, and ``mpmath.quad`` between them
(THEORY.md, Theorem Taylor cost, has the integral).  It gives a number, this library an enclosure.
Where sigma tends to its line like a power only (arctan, squareplus), differences have no digits
left far out, and the peer's number is wrong: the column of its error shows it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
from mpmath import mp

from jaxbarron.activations import activation, registered_activations
from jaxbarron.balls.remainders import cached_tail_jet
from jaxbarron.bounds import density
from jaxbarron.bounds.constants import taylor_constant

__all__ = ["ConstantFigure", "constant_figures", "table_seconds"]

_DIGITS = 25
_FAR, _STEPS = 40, 800  # the grid on which mpmath's user looks for sign changes
_ORDERS = range(5)

_PEERS: dict[str, Callable[[Any], Any]] = {
    "tanh": mp.tanh,
    "sigmoid": lambda z: 1 / (1 + mp.exp(-z)),
    "softplus": lambda z: mp.log1p(mp.exp(-abs(z))) + max(z, 0),
    "gelu": lambda z: z * mp.ncdf(z),
    "gelu_tanh": lambda z: (
        z / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (z + mp.mpf("0.044715") * z**3)))
    ),
    "silu": lambda z: z / (1 + mp.exp(-z)),
    "mish": lambda z: z * mp.tanh(mp.log1p(mp.exp(z))),
    "erf": mp.erf,
    "gaussian": lambda z: mp.exp(-z * z),
    "log_cosh": lambda z: mp.log(mp.cosh(z)),
    "arctan": mp.atan,
    "squareplus": lambda z: (z + mp.sqrt(z * z + 4)) / 2,
}


@dataclass(frozen=True)
class ConstantFigure:
    """One constant: the enclosure, its time, the peer's value and time, and the times' ratio."""

    source: str
    s: int
    lower: float
    upper: float
    seconds: float
    peer: float
    peer_seconds: float
    ratio: float


def constant_figures(
    quick: bool, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[ConstantFigure]:
    """Every finite entry that the peer can state; ``progress`` is given (there, wanted)."""
    wanted = [("tanh", 1), ("arctan", 1)] if quick else _finite_entries()
    figures: list[ConstantFigure] = []
    for name, s in wanted:
        figures.append(_figure(name, s))
        progress(len(figures), len(wanted))
    return figures


def table_seconds() -> tuple[int, float]:
    """The whole table, every registered activation with s = 0, ..., 4: entries and seconds."""
    sources = registered_activations()
    _forget()
    start = time.perf_counter()
    for sigma, s in itertools.product(sources, _ORDERS):
        taylor_constant(sigma, s)
    return len(sources) * len(_ORDERS), time.perf_counter() - start


def _finite_entries() -> list[tuple[str, int]]:
    found = itertools.product(_PEERS, _ORDERS)
    return [(name, s) for name, s in found if taylor_constant(name, s).reason == ""]


def _forget() -> None:
    density.integral.cache_clear()
    cached_tail_jet.cache_clear()


def _figure(name: str, s: int) -> ConstantFigure:
    sigma = activation(name)
    _forget()
    start = time.perf_counter()
    found = taylor_constant(sigma, s)
    middle = time.perf_counter()
    peer = _by_quadrature(_PEERS[name], s)
    seconds, peer_seconds = middle - start, time.perf_counter() - middle
    return ConstantFigure(
        name, s, found.lower, found.upper, seconds, float(peer), peer_seconds,
        peer_seconds / seconds,
    )  # fmt: skip


def _by_quadrature(sigma: Callable[[Any], Any], s: int) -> Any:
    with mpmath.workdps(_DIGITS):

        def density_at(t: Any) -> Any:
            # the step of the differences in proportion to t: far out an absolute one is lost
            return mp.diff(sigma, t, s + 1, relative=abs(t) > 1)

        grid = [mp.mpf(2 * _FAR * k) / _STEPS - _FAR for k in range(_STEPS + 1)]
        # below the digits that are left, a sign is noise
        values = [(t, v) for t in grid if abs(v := density_at(t)) > mp.mpf(10) ** (5 - _DIGITS)]
        cuts = {mp.ninf, mp.mpf(-1), mp.mpf(1), mp.inf}
        for (a, left), (b, right) in itertools.pairwise(values):
            if left * right < 0:
                cuts.add(mp.findroot(density_at, (a, b), solver="anderson", tol=1e-30))
        total = mp.quad(lambda t: max(1, abs(t)) ** s * abs(density_at(t)), sorted(cuts))
        return total / mp.factorial(s)
