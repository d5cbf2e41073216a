"""remove_knots: from the certified kernel towards the plain replacement, while the model trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxbarron.activations import Activation
from jaxbarron.certificates import Certificate
from jaxbarron.errors import UsageError
from jaxbarron.measures import ParticleMeasure
from jaxbarron.report.asked import outputs_of
from jaxbarron.report.data import FineTuning, Thresholds, Training
from jaxbarron.report.finetuning import prepare, pruned_of, sham_of
from jaxbarron.report.knots_removed import PathStage
from jaxbarron.report.options import FineTune, ReportOptions
from jaxbarron.report.recording import Observer
from jaxbarron.report.subject import model_of
from jaxbarron.switching import plan_switch
from jaxbarron.switching.metrics import Metric, metric_of
from jaxbarron.switching.rules import Demand, read_rules

__all__ = ["KnotRemoval", "remove_knots"]


@dataclass(frozen=True, eq=False)
class KnotRemoval:
    """A model trained while knots were taken from its kernels.

    Attributes:
        rules: for :func:`jaxbarron.switch`, by the paths of the sites: the trained kernels.
        parameters: the trained parameters, of the structure that was given.
        certificates: by path how far each kernel is from the original activation, and where.
        stages: one for each number of particles.
        finetuning: the whole run beside the sham switch.
        training: how both were trained.
    """

    rules: Mapping[str, tuple[ParticleMeasure, Activation]]
    parameters: Any
    certificates: Mapping[str, Certificate]
    stages: tuple[PathStage, ...]
    finetuning: FineTuning
    training: Training


def remove_knots(
    apply: Callable[..., Any],
    parameters: Any,
    rules: Mapping[Any, Any],
    inputs: Any,
    labels: Any,
    *,
    to: int = 2,
    tol: float | None = None,
    particles: int | None = None,
    reach: float | None = None,
    metric: str | Metric = "accuracy",
    batch_size: int = 256,
    trainable: Callable[[str, Any], bool] | None = None,
    finetune: FineTune | None = None,
    options: ReportOptions | None = None,
    thresholds: Thresholds | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> KnotRemoval:
    """Start at the certified kernels and fine-tune while their knots are taken away.

    The kernels' weights and knots are trained along with the model.  In the first 70 % of the run
    particles are removed by a cubic schedule (M. Zhu and S. Gupta, arXiv 1710.01878), each time
    those whose loss changes the site's function least in the mean square over the pre-activations
    that the model meets on ``inputs`` (THEORY.md, Theorem Removed particle).  The unchanged model
    is trained beside it on the same examples, the *sham switch*.  At the end of each stage the
    trained kernels are certified against the original activations, ``|z|`` up to a power of two
    that the pre-activations of the model stay within: rigorous there, and silent beyond.

    The optimiser's state goes on over a removal.  Nothing that is passed in is changed.

    Args:
        apply: ``apply(parameters, inputs) -> outputs``, rows to rows, in inference mode.
        parameters: a pytree.
        rules: as for :func:`jaxbarron.switch`.
        inputs: validation data, shape (n, ...).
        labels: shape (n, ...); whole numbers for accuracy.
        to: particles of each kernel at the end.
        tol: of the kernels at the start, as for :func:`jaxbarron.switch`; or
        particles: their size; neither: 16.
        reach: as for :func:`jaxbarron.switch`.
        metric: as for :func:`jaxbarron.switch_report`; so are ``batch_size``, ``trainable``,
            ``finetune`` (training data, loss, optimiser), ``options`` (steps and how often is
            measured), ``thresholds`` (when it is back) and ``progress``.

    Returns:
        The kernels, the parameters and what was measured; the switched model is
        ``jaxbarron.switch(apply, found.rules)`` of ``found.parameters``.

    Raises:
        UsageError: no steps, ``to`` is not from 1 to the kernels' size, or the loss or the
            optimiser fails.
        NonFiniteError: a loss or the metric is NaN or infinite.
        The errors of :func:`jaxbarron.switch_report`.

    Example:
        >>> import jax, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> w, x = rng.normal(size=(3, 4)).astype("f"), rng.normal(size=(40, 3)).astype("f")
        >>> model = lambda w, x: jax.nn.gelu(x @ w)
        >>> few = ReportOptions(finetune_steps=8, evaluations=8)
        >>> y = np.asarray(model(w, x)).argmax(1)
        >>> found = remove_knots(model, w, {"gelu": "relu"}, x, y, to=2, particles=8, options=few)
        >>> found.stages[0].particles, found.stages[-1].particles, found.stages[-1].level
        (8, 2, 'rigorous')
    """
    options = options or ReportOptions()
    if not options.finetune_steps:
        raise UsageError(
            "given: finetune_steps=0; expected: steps to train in; do: leave it out for 200"
        )
    measured = metric_of(metric)
    tune = finetune or FineTune()
    model = model_of(
        "the model", apply, parameters, inputs, labels, measured, batch_size, trainable
    )
    size = 16 if tol is None and particles is None else particles
    demand: dict[str, Any] = {"tol": tol, "particles": size, "reach": reach}
    planned = plan_switch(model.apply, rules, model.parameters, model.batch, **demand)
    most = max(x.kernel.particles for x in planned)
    if not 1 <= to <= most:
        raise UsageError(
            f"given: to={to} for kernels of {most} particles; expected: from 1 to {most}; do: "
            "start at larger kernels (particles=...), or end at fewer"
        )
    tell = progress or (lambda part, done, total: None)
    first = outputs_of(model, model.apply, "the model")
    paths = [x.site.path for x in planned]
    watch = Observer(
        model.apply, model.parameters, model.inputs, model.batch_size, paths, options.recorded,
        read_rules(rules, Demand(**demand)).own,
    )  # fmt: skip
    values = {path: seen.sample for path, seen in watch.observe(planned).items()}
    prepared = prepare(model, first.shape, tune, options)
    sham = sham_of(
        model, prepared, tune, options, thresholds or Thresholds(),
        lambda done, total: tell("the sham switch", done, total),
    )  # fmt: skip
    pruned, finetuning = pruned_of(
        model, planned, values, to, sham, options,
        lambda done, total: tell("knots removed", done, total),
    )  # fmt: skip
    return KnotRemoval(
        {x.site.path: (x.kernel, x.target) for x in pruned.planned},
        model.whole(pruned.parameters),
        {x.site.path: x.certificate for x in pruned.planned},
        pruned.stages,
        finetuning,
        sham.training,
    )
