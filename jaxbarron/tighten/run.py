"""The loop around the steps: chunks, progress, checkpoints, and the result."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.activations import Activation, activation
from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_edges import network_edges, rough_kink
from jaxbarron.bounds.interval_float import Rounding, rounding_of
from jaxbarron.bounds.interval_problem import Problem
from jaxbarron.bounds.interval_profile import composed_jets, sample
from jaxbarron.bounds.interval_table import tabulated
from jaxbarron.certificates.files import activation_to_json
from jaxbarron.errors import (
    DomainError,
    NonFiniteError,
    ShapeError,
    ToleranceError,
    UnreachableTargetError,
    UsageError,
)
from jaxbarron.measures import ParticleMeasure
from jaxbarron.norms import Weight
from jaxbarron.tighten.descent import METHODS, Dual, Function, Method, Point, improve, start
from jaxbarron.tighten.store import Checkpoints

__all__ = ["Progress", "Step", "TightenResult", "check_run", "method_named", "tighten"]

_STEPS, _ROUNDS = 10, 5  # of the optimiser in a round, and rounds in a chunk
CHUNK = _STEPS * _ROUNDS
_PAD = 128


class Step(NamedTuple):
    """The bracket after some steps."""

    steps: int
    lower: float
    upper: float


Progress = Callable[[Step], None]


@dataclass(frozen=True, eq=False)
class TightenResult:
    """``lower <= ||f|| <= upper``, the best of each that was seen.

    Attributes:
        lower: inf, like ``upper``, where the norm is infinite.
        upper: the cost of an exact representation.
        level: ``"float"``: computed in double precision without enclosure, widened by its rounding
            (Theorem Rounding of a bracket).
        theorem: of THEORY.md.
        steps: of the optimiser that were taken, in this run and those it went on from.
        met: whether the gap that was asked for was reached.
        history: the bracket at the end of each chunk.
        iterate: M for the lower bound; cells, shares and particles for the upper one; None where
            the norm is infinite.
        reason: why the norm is infinite; empty otherwise.
    """

    lower: float
    upper: float
    level: Literal["float"]
    theorem: str
    steps: int
    met: bool
    history: tuple[Step, ...]
    iterate: Point | None = None
    reason: str = ""

    @property
    def gap(self) -> float:
        """``(upper - lower) / upper``; 0 where they agree."""
        return 0.0 if self.lower == self.upper else (self.upper - self.lower) / self.upper


def tighten(
    source: str | Activation | Callable[[Any], Any] | ParticleMeasure,
    target: str | Activation,
    *,
    sigma: str | Activation | None = None,
    weight: Weight = "homogeneous",
    spread: float = 1.0,
    offset: float = 0.0,
    rel_gap: float = 1e-9,
    steps: int = 1000,
    method: str = "lbfgs",
    key: Any = None,
    progress: Progress = lambda step: None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
) -> TightenResult:
    """The norm of ``y -> source(spread * y + offset)``, |y| <= 1, in RePU_s, tightened by optax.

    The bounds hold after every step, whatever the optimiser did (THEORY.md, Theorem Tightening):
    stopped, killed or badly tuned, what is left is a bracket.  On the ball of radius R a particle
    ``source(w . x + b)`` has this norm with spread = R ||w||_* and offset = b.

    Args:
        source: an activation, its name, a scalar JAX function, or a measure with one input and one
            output: a network with its cancellations.
        target: RePU_s, s = 0 to 4.
        sigma: the activation of a measure's particles.
        weight: see :func:`jaxbarron.norms.weight_values`.
        spread: finite, not 0 for an activation.
        offset: finite.
        rel_gap: stop at this ``(upper - lower) / upper``.
        steps: at most so many steps of the optimiser, in chunks of 50 that run without Python.
        method: a key of :data:`jaxbarron.tighten.METHODS`.
        key: of the perturbation of the first M; ``jax.random.key(0)`` where left out.
        progress: called after each chunk.
        checkpoint: a folder; after each chunk ``bracket.json`` in it is the bracket so far, with
            its evidence, and the state of the optimiser lies beside it.
        resume: go on from ``checkpoint``; ``steps`` counts those of this run.

    Raises:
        UsageError: another target or method, steps < 1, ``resume`` without a checkpoint.
        ToleranceError: rel_gap is not a number in (0, 1).
        DomainError: the spread or the offset is not finite, or the spread is 0.
        UnreachableTargetError: the target is no RePU_s.
        NonFiniteError: the function or a derivative is not finite on the interval.
        CheckpointError: see :class:`jaxbarron.tighten.store.Checkpoints`.

    Example:
        >>> found = tighten("gelu", "relu")
        >>> round(found.lower, 4), round(found.upper, 4), found.met
        (1.8205, 1.8205, True)
    """
    chosen = method_named(method)
    check_run(rel_gap, steps, checkpoint, resume)
    s = _order(activation(target))
    body = GaugeBody(s, weight)
    base, network = _network(source, sigma, spread, offset)
    key = jax.random.key(0) if key is None else key
    theorem = "Theorem Tightening"
    for w, b in zip(network[1], network[2], strict=True):
        kink = rough_kink(base, s, b - abs(w), b + abs(w))
        if kink is not None:
            reason = f"the derivative of order {kink[1]} jumps at z = {kink[0]:.6g}"
            return TightenResult(math.inf, math.inf, "float", theorem, 0, True, (), reason=reason)
    problem = {
        "kind": "norm",
        "source": activation_to_json(base),
        "s": s,
        "weight": weight,
        "network": [v.tolist() for v in network],
        "method": method,
    }
    folder = None if checkpoint is None else Checkpoints(Path(checkpoint), problem, resume=resume)
    with jax.enable_x64(True):
        edges = network_edges(base, s, *network)
        # few shapes, few compilations: empty cells at the right end
        edges = np.append(edges, np.ones(-len(edges) % _PAD))
        kinks = bool(base.kinks) or base.homogeneity is not None
        whole = Problem(base, *network)
        smooth = tabulated(whole, s).smooth if weight == "l2" else None
        arrays = jax.tree.map(jnp.asarray, (*network, edges, smooth))
        setting = _Setting(body, base, kinks, chosen)
        density, state = _begin(setting, arrays, key)
        state = _strong(state)
        rounding = rounding_of(whole, body)
        taken = 0
        if folder is not None and resume:
            found = folder.restore((*state, np.zeros((), np.int64)))
            if found is not None:
                state, taken = jax.tree.map(jnp.asarray, found[:2]), int(found[2])
        history = [_step(base, taken, density, state[1], rounding)]
        _save(folder, history[-1], state, taken)
        progress(history[-1])
        last = taken + steps
        while taken < last and _open(history[-1], rel_gap):
            state = _strong(_chunk(setting, arrays, *state, rel_gap))
            taken += CHUNK
            history.append(_step(base, taken, density, state[1], rounding))
            _save(folder, history[-1], state, taken)
            progress(history[-1])
        iterate = jax.tree.map(np.asarray, state[1])
    end = history[-1]
    return TightenResult(
        end.lower, end.upper, "float", theorem, taken, not _open(end, rel_gap), tuple(history),
        iterate,
    )  # fmt: skip


def _strong(state: Any) -> Any:
    """The same without weak types, which would make the second chunk compile again."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), state)


@dataclass(frozen=True)
class _Setting:
    body: GaugeBody
    source: Activation
    kinks: bool
    method: Method


def _function(setting: _Setting, arrays: Any) -> Function:
    weights, spreads, offsets, edges, smooth = arrays
    jets = composed_jets(setting.source.fn, setting.body.s + 1, spreads, offsets, weights)
    return Function.of(setting.body, sample(jets, edges, kinks=setting.kinks), jets, smooth)


@functools.partial(jax.jit, static_argnums=0)
def _begin(setting: _Setting, arrays: Any, key: Any) -> tuple[Any, tuple[Dual, Point]]:
    function = _function(setting, arrays)
    return function.density, start(setting.body, function, setting.method, key)


@functools.partial(jax.jit, static_argnums=0)
def _chunk(
    setting: _Setting, arrays: Any, dual: Dual, best: Point, rel_gap: Any
) -> tuple[Dual, Point]:
    function = _function(setting, arrays)

    def going(state: Any) -> Any:
        count, _, best = state
        total = function.density + best.upper
        return (count < _ROUNDS) & (best.upper - best.lower > rel_gap / 2 * total)

    def round_of(state: Any) -> Any:
        count, *pair = state
        return count + 1, *improve(setting.body, function, setting.method, _STEPS, *pair)

    return jax.lax.while_loop(going, round_of, (0, dual, best))[1:]


def _step(source: Activation, taken: int, density: Any, best: Point, rounding: Rounding) -> Step:
    lower, upper = float(density + best.lower), float(density + best.upper)
    if not (math.isfinite(lower) and math.isfinite(upper)):
        raise NonFiniteError(
            f"given: {source.name}, whose values or derivatives are not finite on the interval; "
            "expected: a function that double precision holds there; do: choose a smaller spread"
        )
    return Step(taken, *rounding.widened(lower, upper))


def _open(step: Step, rel_gap: float) -> bool:
    return step.upper - step.lower > rel_gap * step.upper


def _save(folder: Checkpoints | None, step: Step, state: Any, taken: int) -> None:
    if folder is None:
        return
    evidence = {k: np.asarray(v).tolist() for k, v in state[1]._asdict().items()}
    folder.write({**step._asdict(), "evidence": evidence}, (*state, np.int64(taken)))


def method_named(name: str) -> Method:
    """The method, or UsageError."""
    if name not in METHODS:
        raise UsageError(
            f"given: method={name!r}; expected: one of {', '.join(METHODS)}; do: leave it out"
        )
    return METHODS[name]


def check_run(rel_gap: float, steps: int, checkpoint: str | Path | None, resume: bool) -> None:
    """UsageError or ToleranceError for what no run can do."""
    if not 0 < rel_gap < 1:
        raise ToleranceError(
            f"given: rel_gap={rel_gap}; expected: a number in (0, 1); do: e.g. rel_gap=1e-9"
        )
    if isinstance(steps, bool) or steps < 1:
        raise UsageError(f"given: steps={steps}; expected: at least 1; do: e.g. steps=1000")
    if resume and checkpoint is None:
        raise UsageError(
            "given: resume without a checkpoint; expected: the folder to go on from; do: name it"
        )


def _order(tau: Activation) -> int:
    if tau.homogeneity is None:
        raise UnreachableTargetError(
            f"given: the target {tau.name}; expected: RePU_s, for which both bounds are known; do: "
            "e.g. relu, or repu(2)"
        )
    return tau.homogeneity


def _network(
    source: Any, sigma: str | Activation | None, spread: float, offset: float
) -> tuple[Activation, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    if not (math.isfinite(spread) and math.isfinite(offset)):
        raise DomainError(
            f"given: spread={spread}, offset={offset}; expected: finite numbers; do: pass the "
            "half-width of the interval and its centre, in the function's own argument"
        )
    if spread == 0:
        raise DomainError(
            "given: spread=0, a constant; expected: an interval; do: its norm is |source(offset)|"
        )
    if not isinstance(source, ParticleMeasure):
        if sigma is not None:
            raise UsageError(
                "given: sigma with a source that is no measure; expected: sigma for a "
                "ParticleMeasure only; do: leave it out"
            )
        base = activation(source)
        return base, (np.ones(1), np.full(1, float(spread)), np.full(1, float(offset)))
    if sigma is None:
        raise UsageError(
            "given: a measure without its activation; expected: sigma=...; do: e.g. sigma='tanh'"
        )
    if source.inputs != 1 or source.outputs != 1:
        raise ShapeError(
            f"given: a measure with {source.inputs} inputs and {source.outputs} outputs; expected: "
            "one of each; do: restrict it to a line, and take one output"
        )
    fields = (source.weights, source.directions, source.offsets)
    a, w, b = (np.asarray(v, np.float64).reshape(-1) for v in fields)
    return activation(sigma), (a, w * spread, w * offset + b)
