"""The second question: what does fine-tuning cost, each candidate beside a sham switch?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.errors import NonFiniteError, ShapeError, UsageError
from jaxbarron.report.data import Back, FineTuning, Thresholds, Training
from jaxbarron.report.extrapolation import crossing
from jaxbarron.report.knots_removed import PATH_NAME
from jaxbarron.report.options import FineTune, ReportOptions
from jaxbarron.report.pruning import Pruned, prune_while_training
from jaxbarron.report.statistics import Interval
from jaxbarron.report.subject import OwnModel, on_device, users_code
from jaxbarron.report.training import Course, Plan, course, default_loss, order_of
from jaxbarron.switching import Replacement
from jaxbarron.switching.metrics import Metric, check_labels, metric_value

__all__ = ["Sham", "against_sham", "finetuning_of", "prepare", "pruned_of", "sham_of"]

_CROSS_ENTROPY, _LOSS_SHARE = 0.01, 0.05
_FLOPS = "XLA's count for one step before it optimises; a loop's body counts once"


@dataclass(frozen=True, eq=False)
class Sham:
    """The unchanged model after the same extra training, and what is common to all runs."""

    plan: Plan
    training: Training
    course: Course
    metric: float


def prepare(
    model: OwnModel, outputs_shape: tuple[int, ...], tune: FineTune, options: ReportOptions
) -> tuple[Plan, str, str]:
    """Data, order, loss and optimiser of all runs; the loss's name; where the data comes from.

    Raises:
        UsageError: there is no parameter to train, or no loss fits the labels.
        ShapeError: training data that does not fit.
        NonFiniteError: training inputs that are not finite.
    """
    import optax

    if not any(model.trainable):
        raise UsageError(
            "given: a model without parameters to train; expected: floating arrays in the pytree "
            "of parameters; do: pass them as parameters, not in a closure, or leave fine-tuning "
            "out"
        )
    name, loss = "own loss", tune.loss
    if loss is None:
        name, loss = default_loss(len(outputs_shape), model.labels)
    x, y, held_x, held_y, split = _data(model, outputs_shape, tune, options)
    order = order_of(
        options.seed, len(x), options.finetune_batch, options.finetune_steps, options.evaluations
    )
    optimiser = optax.adam(options.learning_rate) if tune.optimiser is None else tune.optimiser
    pieces = -(-len(held_x) // model.batch_size)
    chunk = len(held_x) // pieces
    whole = chunk * pieces  # one shape, one compilation
    plan = Plan(
        loss, optimiser, x, y, held_x[:whole], held_y[:whole], order, model.trainable, chunk
    )
    return plan, name, split


def _data(
    model: OwnModel, outputs_shape: tuple[int, ...], tune: FineTune, options: ReportOptions
) -> tuple[Any, Any, Any, Any, str]:
    most = options.held_out
    if tune.train is not None:
        x, y = on_device(tune.train[0]), np.asarray(tune.train[1])
        if len(x) != len(y) or x.shape[1:] != model.inputs.shape[1:] or not len(x):
            raise ShapeError(
                f"given: training inputs {x.shape} and labels {y.shape} for a model of inputs "
                f"{model.inputs.shape}; expected: rows of the same kind, one label each; do: save "
                "both as for validation"
            )
        check_labels(model.metric, (len(x), *outputs_shape[1:]), y)
        x = x.astype(model.inputs.dtype)
        held, labels = model.inputs[:most], model.labels[:most]
        split = "trained on the training data, measured on the validation data"
        return x, jnp.asarray(y), held, jnp.asarray(labels), split
    count = len(model.inputs)
    if count < 4:
        raise UsageError(
            f"given: {count} examples and no training data; expected: at least 4 to split; do: "
            "give training data of its own"
        )
    rows = np.random.default_rng(options.seed).permutation(count)
    one, other = np.sort(rows[: count // 2]), np.sort(rows[count // 2 :])[:most]
    split = "no training data was given: half of the validation data is trained on, the loss is "
    split += "measured on the other half"
    pick = model.inputs, jnp.asarray(model.labels)
    return pick[0][one], pick[1][one], pick[0][other], pick[1][other], split


def sham_of(
    model: OwnModel,
    prepared: tuple[Plan, str, str],
    tune: FineTune,
    options: ReportOptions,
    thresholds: Thresholds,
    progress: Callable[[int, int], None] | None = None,
) -> Sham:
    """Train the unchanged model: extra training alone moves the metric.

    Raises:
        UsageError: the user's loss or optimiser fails, or the model cannot be differentiated.
        NonFiniteError: the loss is NaN or infinite.
    """
    plan, name, split = prepared
    ran = _run("the sham switch", model.apply, model, plan, progress)
    start = float(ran.losses[0].mean())
    tolerance = thresholds.tolerance
    if tolerance is None:
        tolerance = _CROSS_ENTROPY if name == "cross-entropy" else _LOSS_SHARE * abs(start)
    if not tolerance > 0:
        raise UsageError(
            f"given: a loss of {start:g} for the unchanged model; expected: a tolerance > 0 for "
            "what may exceed it; do: give one"
        )
    leaves = jax.tree.leaves(model.parameters)
    trained = sum(int(np.size(x)) for x, on in zip(leaves, plan.trainable, strict=True) if on)
    own = "an optimiser of the user's"
    training = Training(
        loss=name,
        optimiser=f"Adam, rate {options.learning_rate:g}" if tune.optimiser is None else own,
        batch=plan.order.shape[2],
        steps=int(ran.steps[-1]),
        examples=len(plan.x),
        held_out=len(plan.held_x),
        split=split,
        trained=trained,
        tolerance=tolerance,
        flops=_FLOPS,
    )
    return Sham(plan, training, ran, _metric(model.metric, ran, plan))


def finetuning_of(
    name: str,
    apply: Callable[[Any, Any], Any],
    model: OwnModel,
    sham: Sham,
    options: ReportOptions,
    progress: Callable[[int, int], None] | None = None,
) -> FineTuning:
    """The same run from the switched model, held against the sham.

    Raises:
        UsageError: the user's loss or optimiser fails, or the model cannot be differentiated.
        NonFiniteError: the loss is NaN or infinite.
    """
    ran = _run(name, apply, model, sham.plan, progress)
    return against_sham(ran, sham, model.metric, options)


def pruned_of(
    model: OwnModel,
    planned: Sequence[Replacement],
    values: Mapping[str, np.ndarray],
    to: int,
    sham: Sham,
    options: ReportOptions,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Pruned, FineTuning]:
    """The same run from kernels whose knots are taken away, held against the sham.

    Raises:
        UsageError: the user's loss or optimiser fails, or the model cannot be differentiated.
        NonFiniteError: the loss is NaN or infinite.
    """
    with _trained(PATH_NAME):
        pruned = prune_while_training(
            model, sham.plan, planned, values, to, sham.course.losses, progress
        )
    return pruned, against_sham(pruned.course, sham, model.metric, options, pruned.settled)


def against_sham(
    ran: Course, sham: Sham, metric: Metric, options: ReportOptions, settled: int = 0
) -> FineTuning:
    """A run beside the sham switch's: the excess, and when it is within the tolerance.

    Args:
        ran: the run.
        sham: the unchanged model after the same training.
        metric: what is measured.
        options: the seed of what is resampled.
        settled: the place among the points from which on the candidate is what it is to be.
    """
    excess = ran.losses - sham.course.losses
    rows = np.random.default_rng(options.seed).integers(0, excess.shape[1], (200, excess.shape[1]))
    spread = np.quantile(np.stack([excess[:, r].mean(1) for r in rows]), (0.05, 0.95), axis=0)
    begun = float(ran.steps[settled])
    found = crossing(ran.steps[settled:] - ran.steps[settled], excess[settled:],
                     sham.training.tolerance, options.seed)  # fmt: skip
    if settled and found.kind == "at once":
        found = replace(found, kind="measured", method="within the tolerance when first measured")

    def times(factor: float) -> Interval:
        low, middle, high = (
            factor * (begun + x) for x in (found.lower, found.estimate, found.upper)
        )
        return Interval(middle, low, high, found.method)

    flops = ran.flops_per_step
    back = Back(
        found.kind,
        times(1.0),
        times(float(sham.training.batch)),
        None if flops is None else times(flops),
        times(ran.seconds_per_step),
    )
    return FineTuning(
        tuple(int(x) for x in ran.steps),
        tuple(ran.losses.mean(1).tolist()),
        tuple(sham.course.losses.mean(1).tolist()),
        tuple(excess.mean(1).tolist()),
        tuple((float(a), float(b)) for a, b in spread.T),
        _metric(metric, ran, sham.plan),
        sham.metric,
        ran.seconds_per_step,
        flops,
        back,
    )


def _run(
    name: str,
    apply: Callable[[Any, Any], Any],
    model: OwnModel,
    plan: Plan,
    progress: Callable[[int, int], None] | None,
) -> Course:
    with _trained(name):
        return course(name, apply, model.parameters, plan, progress)


def _trained(name: str) -> contextlib.AbstractContextManager[None]:
    return users_code(
        f"fine-tuning of {name}, which fails",
        "a loss and an optimiser of the parameters, and a model that can be differentiated in "
        "reverse",
        "for a loop with a traced trip count use lax.scan, or lax.fori_loop with bounds that are "
        "Python numbers; else call the loss from Python",
    )


def _metric(metric: Metric, ran: Course, plan: Plan) -> float:
    try:
        return metric_value(metric, ran.outputs, np.asarray(plan.held_y))
    except NonFiniteError as error:
        raise NonFiniteError(f"after fine-tuning: {error}") from None
