"""Open pairs: at what norm the particles of tau approximate sigma, and how well.

Where neither an embedding nor a witness against one is known, this is what can be said: a few
measures of tau, each with its norm and its certified error on [-1, 1].  If sigma lies in B_tau the
norms stay bounded as the error falls; where the unit ball is closed, as for a bounded tau, the
converse holds as well (THEORY.md, Theorem Trade-off curve).
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from typing import Any, Literal

from jaxbarron.activations import Activation, activation
from jaxbarron.activations.registry import is_registered
from jaxbarron.atlas.trade_off import LeastNorm, TradeOff
from jaxbarron.bounds.kernel_error import KernelError, kernel_error
from jaxbarron.errors import CertificateFileError, ToleranceError, UsageError

__all__ = [
    "TABLE_FORMAT",
    "TOLERANCES",
    "Approximation",
    "approximation_from_json",
    "approximation_to_json",
    "best_approximations",
    "check_approximation",
    "compute_approximations",
    "tabulated_pairs",
]

TABLE_FORMAT = 1
TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4)

Source = str | Activation | Callable[[Any], Any]

_DIGITS = 10  # of a weight
_EVALUATIONS = 4000
_SLACK = 0.01  # above its tolerance an error is the last: the grid is exhausted


@dataclass(frozen=True)
class Approximation:
    """``|sigma(x) - sum_k c_k tau(alpha_k x + beta_k)| <= error`` for all x in [-1, 1].

    Attributes:
        norm: ``sum_k |c_k| V(alpha_k, beta_k)`` on [-1, 1], rounded up: rho = |alpha| + |beta|,
            V = ``rho^s`` for RePU_s and ``(1 + rho)^p`` for every other tau.
        error: an upper bound of the supremum.
        weights: the c_k.
        directions: the alpha_k.
        offsets: the beta_k.
        lower: of level float: no combination of the grid's particles that has this norm, or less,
            has a smaller error.  Nothing is claimed of other particles.
        level: of ``norm`` and ``error``: outward-rounded statements about these floats.
    """

    norm: float
    error: float
    weights: tuple[float, ...]
    directions: tuple[float, ...]
    offsets: tuple[float, ...]
    lower: float
    level: Literal["rigorous"] = "rigorous"


def best_approximations(
    source: Source, target: Source, order: int, *, tolerances: Sequence[float] = TOLERANCES
) -> tuple[Approximation, ...]:
    """The best known approximations of sigma by particles of tau: norms rise, errors fall.

    For each tolerance a linear program over a grid of particles gives the least norm of a
    combination whose error on [-1, 1] is at most that part of sup |sigma|; then the error is
    certified.  Some open pairs of registered activations come from a table that ``python -m
    jaxbarron.atlas.build_approximations`` writes; others take seconds.
    An approximation that another one beats in both norm and error is left out; where the grid
    cannot reach a tolerance the last one falls short of it.

    Args:
        source: a name, an activation or a scalar JAX function.
        target: the same.
        order: p >= 0 of the weight ``(1 + rho)^p``; it has no effect if tau is RePU_s.
        tolerances: errors to aim at, relative to sup |sigma| on [-1, 1]; above 0, at most 1.

    Raises:
        UsageError: ``order`` is not a whole number >= 0.
        ToleranceError: a tolerance is out of range, or there is none.
        DomainError: sigma, or every particle of tau, is not finite on [-1, 1].
        UnsupportedPrimitiveError: an activation uses a primitive without a rule.

    Example:
        >>> found = best_approximations("elu", "tanh", 1, tolerances=[0.1, 0.01])
        >>> [round(a.norm, 1) for a in found], found[1].error < 0.0102
        ([2.4, 3.5], True)
    """
    sigma, tau = activation(source), activation(target)
    if tuple(tolerances) == TOLERANCES and is_registered(sigma) and is_registered(tau):
        stored = _table().get((sigma.name, tau.name, _checked_order(order)))
        if stored is not None:
            return stored
    return compute_approximations(sigma, tau, order, tolerances)


def compute_approximations(
    sigma: Activation, tau: Activation, order: int, tolerances: Sequence[float] = TOLERANCES
) -> tuple[Approximation, ...]:
    """:func:`best_approximations` without the table."""
    wanted = _checked_tolerances(tolerances)
    program = TradeOff(sigma, tau, _checked_order(order))
    found: list[Approximation] = []
    for tolerance in wanted:
        solution = program.least_norm(tolerance)
        if solution is None:
            break
        row = _certified(sigma, tau, order, solution)
        # The grid may be exhausted, or a smaller error cost no norm.
        if not row.error < min([math.inf, *(a.error for a in found)]):
            break
        found = [*(a for a in found if a.norm < row.norm), row]
        if solution.slack > _SLACK:
            break
    return tuple(found)


def check_approximation(
    source: Source, target: Source, order: int, found: Approximation
) -> str | None:
    """None if norm and error hold, derived again from the floats, else what does not.

    Example:
        >>> from dataclasses import replace
        >>> row = best_approximations("elu", "tanh", 1, tolerances=[0.1])[0]
        >>> check_approximation("elu", "tanh", 1, row) is None
        True
        >>> changed = replace(row, norm=row.norm - 0.01)
        >>> check_approximation("elu", "tanh", 1, changed).startswith("the norm is")
        True
    """
    sigma, tau = activation(source), activation(target)
    measure = found.weights, found.directions, found.offsets
    if not found.weights or len({len(numbers) for numbers in measure}) > 1:
        return f"the measure has {[len(numbers) for numbers in measure]} numbers"
    if not all(math.isfinite(x) for numbers in measure for x in numbers):
        return "a number of the measure is not finite"
    norm = _norm(tau, _checked_order(order), *measure)
    if not norm <= found.norm < math.inf:
        return f"the norm is {norm!r}, the claim says {found.norm!r}"
    proved = None
    for rel in (1e-3, 1e-4, 1e-6):
        proved = _error(sigma, tau, *measure, rel)
        if proved.lower > found.error:
            return f"the error is at least {proved.lower!r}, the claim says {found.error!r}"
        if proved.upper <= found.error < math.inf:
            return None
    return f"the error is at most {proved.upper!r}, which does not prove {found.error!r}"


# ------------------------------------------------------------------------- the claim


def _norm(
    tau: Activation, order: int, weights: Iterable[float], directions: Iterable[float],
    offsets: Iterable[float],
) -> float:  # fmt: skip
    base, power = (1, order) if tau.homogeneity is None else (0, tau.homogeneity)
    exact = sum(
        (
            abs(Fraction(c)) * (base + abs(Fraction(a)) + abs(Fraction(b))) ** power
            for c, a, b in zip(weights, directions, offsets, strict=True)
        ),
        Fraction(0),
    )
    try:
        norm = float(exact)
    except OverflowError:
        return math.inf
    return norm if norm >= exact else math.nextafter(norm, math.inf)


def _error(
    sigma: Activation, tau: Activation, weights: Sequence[float], directions: Sequence[float],
    offsets: Sequence[float], rel: float = 1e-3,
) -> KernelError:  # fmt: skip
    return kernel_error(
        sigma.program,
        tau.program,
        weights,
        directions,
        offsets,
        reach=1.0,
        rel=rel,
        splits=[kink.location for kink in sigma.kinks],
        target_splits=[kink.location for kink in tau.kinks],
        target_homogeneity=tau.homogeneity,
        max_evaluations=_EVALUATIONS,
    )


def _certified(sigma: Activation, tau: Activation, order: int, found: LeastNorm) -> Approximation:
    """The particles with weights of a few digits: norm and error are of these."""
    weights = tuple(float(f"{c:.{_DIGITS - 1}e}") for c in found.weights)
    directions, offsets = tuple(found.directions.tolist()), tuple(found.offsets.tolist())
    norm = _norm(tau, order, weights, directions, offsets)
    error = _error(sigma, tau, weights, directions, offsets).upper
    lower = min(found.lower(norm), error)
    return Approximation(norm, error, weights, directions, offsets, lower)


# ---------------------------------------------------------------------- arguments, table


def _checked_order(order: int) -> int:
    if isinstance(order, bool) or not isinstance(order, int) or order < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"given: order={order!r}; expected: a whole number >= 0; do: e.g. order=1")
    return order


def _checked_tolerances(tolerances: Sequence[float]) -> list[float]:
    values = sorted({float(t) for t in tolerances}, reverse=True)
    if not values or not all(0 < t <= 1 for t in values):
        raise ToleranceError(
            f"given: tolerances={list(tolerances)}; expected: numbers above 0, at most 1; do: "
            "e.g. tolerances=[0.1, 0.01]"
        )
    return values


def tabulated_pairs() -> tuple[tuple[str, str, int], ...]:
    """The (source, target, order) of every entry of the shipped table.

    Example:
        >>> ("gaussian", "tanh", 2) in tabulated_pairs()
        True
    """
    return tuple(_table())


def approximation_to_json(found: Approximation) -> dict[str, Any]:
    """The JSON object of an approximation; decimals that give the same floats back."""
    names = ("norm", "error", "lower", "weights", "directions", "offsets")
    return {name: getattr(found, name) for name in names}


def approximation_from_json(row: Mapping[str, Any]) -> Approximation:
    """The inverse of :func:`approximation_to_json`."""
    weights, directions, offsets = (
        tuple(map(float, row[name])) for name in ("weights", "directions", "offsets")
    )
    norm, error, lower = (float(row[name]) for name in ("norm", "error", "lower"))
    return Approximation(norm, error, weights, directions, offsets, lower)


@functools.cache
def _table() -> dict[tuple[str, str, int], tuple[Approximation, ...]]:
    path = resources.files("jaxbarron.atlas").joinpath("approximations.json")
    data: Any = json.loads(path.read_text("utf-8"))
    if data["format"] != TABLE_FORMAT:
        raise CertificateFileError(
            f"given: a table of approximations of format {data['format']}; expected: "
            f"{TABLE_FORMAT}; do: run python -m jaxbarron.atlas.build_approximations"
        )
    return {
        (e["source"], e["target"], e["order"]): tuple(map(approximation_from_json, e["rows"]))
        for e in data["entries"]
    }
