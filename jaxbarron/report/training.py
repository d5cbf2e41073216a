"""Short training runs, the same for every candidate and for the sham switch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.devices import on_cpu
from jaxbarron.errors import NonFiniteError, ShapeError, UsageError

__all__ = ["Course", "Plan", "course", "default_loss", "flops_of", "order_of", "points_of"]

Loss = Callable[[Any, Any], Any]
# between(k, leaves, outputs): the leaves from which the k-th chunk goes on
Between = Callable[[int, list[Any], np.ndarray], list[Any]]


@dataclass(frozen=True, eq=False)
class Plan:
    """What is common to all runs.

    Attributes:
        loss: ``loss(outputs, labels)``: a mean over the examples.
        optimiser: of optax.
        x: rows to train on.
        y: their labels.
        held_x: rows to measure on.
        held_y: their labels.
        order: rows of each step, shape (evaluations, steps between, batch).
        trainable: for each leaf of the parameters whether it may change.
        chunk: how many held-out rows at once.
    """

    loss: Loss
    optimiser: Any
    x: Any
    y: Any
    held_x: Any
    held_y: Any
    order: np.ndarray
    trainable: tuple[bool, ...]
    chunk: int


@dataclass(frozen=True, eq=False)
class Course:
    """What a run showed.

    Attributes:
        steps: when the held-out loss was taken, shape (evaluations + 1,).
        losses: of each held-out example then, shape (evaluations + 1, m).
        outputs: of the held-out examples at the end.
        seconds_per_step: the median over the chunks, compilation excluded.
        flops_per_step: counted by XLA; None where it counts none.
        parameters: at the end, of the structure that was given.
    """

    steps: np.ndarray
    losses: np.ndarray
    outputs: np.ndarray
    seconds_per_step: float
    flops_per_step: float | None
    parameters: Any


def default_loss(outputs_ndim: int, labels: np.ndarray) -> tuple[str, Loss]:
    """Cross-entropy for whole numbers of one axis less than the outputs, else the mean square.

    Raises:
        UsageError: neither fits the labels.

    Example:
        >>> default_loss(2, np.array([0, 3]))[0]
        'cross-entropy'
    """
    import optax

    if labels.dtype.kind in "iu" and labels.ndim == outputs_ndim - 1:
        return "cross-entropy", lambda outputs, y: jnp.mean(
            optax.softmax_cross_entropy_with_integer_labels(outputs, y)
        )
    if labels.ndim == outputs_ndim:
        return "mean square error", lambda outputs, y: jnp.mean(jnp.square(outputs - y))
    raise UsageError(
        f"given: labels of shape {labels.shape} and dtype {labels.dtype} for outputs of "
        f"{outputs_ndim} axes; expected: classes, or targets like the outputs; do: give a loss of "
        "your own: loss(outputs, labels) -> a mean over the examples"
    )


def order_of(seed: int, rows: int, batch: int, steps: int, evaluations: int) -> np.ndarray:
    """Which rows each step takes: one random order of all rows after the other.

    A longer run takes the rows of a shorter one first.

    Returns:
        Shape (evaluations, steps between, batch); steps are rounded up to whole chunks.

    Example:
        >>> order_of(0, rows=10, batch=4, steps=6, evaluations=3).shape
        (3, 2, 4)
    """
    batch = min(batch, rows)
    between = -(-steps // evaluations)
    wanted = evaluations * between * batch
    passes = -(-wanted // rows)
    orders = [np.random.default_rng((seed, k)).permutation(rows) for k in range(passes)]
    return np.concatenate(orders)[:wanted].reshape(evaluations, between, batch)


def points_of(order: np.ndarray) -> np.ndarray:
    """After how many steps the loss is taken: before the first, and after each chunk."""
    return np.arange(order.shape[0] + 1) * order.shape[1]


def course(
    name: str,
    apply: Callable[[Any, Any], Any],
    parameters: Any,
    plan: Plan,
    progress: Callable[[int, int], None] | None = None,
    between: Between | None = None,
) -> Course:
    """Train from ``parameters`` and measure on the held-out examples on the way.

    Args:
        name: of the candidate, for messages.
        apply: the model that is trained.
        parameters: where it starts; nothing is changed in place.
        plan: data, order, loss and optimiser.
        progress: called with (chunks done, chunks).
        between: called with (k, leaves, held-out outputs) before the k-th chunk; what it returns
            is trained on.  The optimiser's state goes on.

    Raises:
        NonFiniteError: a loss is NaN or infinite.
        ShapeError: the loss is no scalar.
    """
    import optax

    leaves, tree = jax.tree.flatten(parameters)
    free, fixed = _parted(leaves, plan.trainable)

    def whole(free: Any, fixed: Any) -> list[Any]:
        each = iter(free), iter(fixed)
        return [next(each[0] if on else each[1]) for on in plan.trainable]

    def outputs_of(free: Any, fixed: Any, x: Any) -> Any:
        return apply(jax.tree.unflatten(tree, whole(free, fixed)), x)

    def loss(free: Any, fixed: Any, x: Any, y: Any) -> Any:
        return plan.loss(outputs_of(free, fixed, x), y)

    def step(free: Any, state: Any, fixed: Any, x: Any, y: Any) -> Any:
        value, gradient = jax.value_and_grad(loss)(free, fixed, x, y)
        updates, state = plan.optimiser.update(gradient, state, free)
        return optax.apply_updates(free, updates), state, value

    @jax.jit
    def chunk(free: Any, state: Any, fixed: Any, x: Any, y: Any, rows: Any) -> Any:
        def one(carry: Any, chosen: Any) -> Any:
            free, state, value = step(carry[0], carry[1], fixed, x[chosen], y[chosen])
            return (free, state), value

        (free, state), values = jax.lax.scan(one, (free, state), rows)
        return free, state, values

    @jax.jit
    def measured(free: Any, fixed: Any, x: Any, y: Any) -> Any:
        outputs = outputs_of(free, fixed, x)
        return outputs, jax.vmap(lambda o, t: plan.loss(o[None], t[None]))(outputs, y)

    def look(free: Any, at: int) -> tuple[np.ndarray, np.ndarray]:
        parts = [
            measured(free, fixed, plan.held_x[k : k + plan.chunk], plan.held_y[k : k + plan.chunk])
            for k in range(0, len(plan.held_x), plan.chunk)
        ]
        outputs, losses = (np.concatenate([np.asarray(p[i], np.float64) for p in parts])
                           for i in (0, 1))  # fmt: skip
        if losses.ndim != 1:
            raise ShapeError(
                f"given: a loss of shape {losses.shape[1:]} for one example; expected: a scalar; "
                "do: take the mean over the examples"
            )
        _check(name, losses, at, "on the held-out examples")
        return outputs, losses

    state = plan.optimiser.init(free)
    points = points_of(plan.order)
    flops = flops_of(step, free, state, fixed, *(a[plan.order[0, 0]] for a in (plan.x, plan.y)))
    seconds: list[float] = []
    outputs, losses = look(free, 0)
    curve = [losses]
    ready = chunk.lower(free, state, fixed, plan.x, plan.y, plan.order[0]).compile()
    for k, rows in enumerate(plan.order):
        if between is not None:
            free, fixed = _parted(between(k, whole(free, fixed), outputs), plan.trainable)
        begin = time.perf_counter()
        free, state, values = ready(free, state, fixed, plan.x, plan.y, rows)
        values = np.asarray(values, np.float64)
        seconds.append((time.perf_counter() - begin) / len(rows))
        _check(name, values, int(points[k]), "on the examples it trains on")
        outputs, losses = look(free, int(points[k + 1]))
        curve.append(losses)
        if progress is not None:
            progress(k + 1, len(plan.order))
    return Course(
        points, np.stack(curve), outputs, float(np.median(seconds)), flops,
        jax.tree.unflatten(tree, whole(free, fixed)),
    )  # fmt: skip


def _parted(leaves: Sequence[Any], trainable: Sequence[bool]) -> tuple[list[Any], list[Any]]:
    """What training changes, and what it does not."""
    pairs = list(zip(leaves, trainable, strict=True))
    return [jnp.asarray(x) for x, on in pairs if on], [x for x, on in pairs if not on]


def flops_of(fn: Callable[..., Any], *args: Any) -> float | None:
    """Floating-point operations of one call as XLA counts them before it optimises.

    The body of a loop counts once, however often it runs; None where XLA counts none.

    Example:
        >>> flops_of(lambda x: x @ x, jnp.ones((8, 8)))
        1024.0
    """
    with on_cpu():  # other backends do not count before they compile
        shapes = jax.tree.map(_shape_of, args)
        counted: Any = jax.jit(fn).lower(*shapes).cost_analysis()
    value = counted.get("flops") if isinstance(counted, dict) else None
    return float(value) if value is not None and value > 0 else None


def _shape_of(x: Any) -> Any:
    """Of an array its shape and dtype, wherever it lies; a number is itself."""
    return jax.ShapeDtypeStruct(x.shape, x.dtype) if hasattr(x, "dtype") else x


def _check(name: str, losses: Sequence[float] | np.ndarray, at: int, where: str) -> None:
    broken = ~np.isfinite(losses)
    if np.any(broken):
        raise NonFiniteError(
            f"given: fine-tuning of {name}, whose loss {where} is {np.asarray(losses)[broken][0]} "
            f"after about {at} steps; expected: finite losses; do: lower the learning rate, clip "
            "the gradient, or look at the loss at such outputs"
        )
