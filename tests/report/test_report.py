"""The whole report: of every kind of model, in JSON, and with parts that fail."""

import dataclasses
import json
import math
import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxbarron as jb
from jaxbarron.errors import NonFiniteError, ShapeError, UsageError
from jaxbarron.report.document import report_document
from jaxbarron.report.subject import model_of
from jaxbarron.report.tools import opset_of, tool_answers
from jaxbarron.report.verdict import front, verdict_of
from jaxbarron.switching.metrics import ACCURACY, MSE, Metric

EXAMPLES = Path(__file__).parents[2] / "examples"
FEW = jb.ReportOptions(
    finetune_steps=4, evaluations=4, finetune_batch=16, sizes=(), pairs=1, boxes=0,
    ascent_steps=2, restarts=1, searched=4, recorded=64, resamples=20,
)  # fmt: skip
RNG = np.random.default_rng(0)
W = RNG.normal(size=(3, 4)).astype(np.float32)
X = RNG.normal(size=(40, 3)).astype(np.float32)
Y = RNG.integers(0, 4, 40)


def logits(w, x):
    return jax.nn.gelu(x @ w)


@pytest.mark.parametrize("name", ["flax_nnx", "flax_linen", "equinox", "haiku", "plain"])
def test_every_kind_of_model_in_three_lines(name, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    import own_model

    x, y = own_model.spirals(120, seed=1)

    apply, parameters = getattr(own_model, name)()
    report = jb.switch_report(apply, parameters, {"gelu": "relu"}, x, y, tol=1e-2, options=FEW)
    verdict = report.verdict

    assert verdict.outcome == "safe as it is", verdict
    assert report.failures == ()
    assert report.training.trained == 2 * 32 + 32 * 3 + 32 + (0 if name == "plain" else 3)
    kinds = [(c.name, c.kind) for c in report.candidates]
    assert kinds == [
        ("as asked (tol 0.01)", "kernel switch"),
        ("one for one", "plain replacement"),
        ("one scaled particle", "plain replacement"),
    ]
    for candidate in report.candidates:
        assert candidate.finetuning.steps == (0, 1, 2, 3, 4)
        assert candidate.worth.parameters[0] == report.training.trained
    (site,) = report.kept.sites
    assert site.observed <= site.certified <= 1e-2
    assert report.kept.equivalence.epsilon >= report.kept.worst_on_data[0].change > 0
    json.dumps(report_document(report), allow_nan=False)


def test_only_parameters_are_trained():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.linear, self.norm = nnx.Linear(3, 4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs)

        def __call__(self, x):
            return nnx.gelu(self.norm(self.linear(x)))

    net = Net(nnx.Rngs(0))
    net.eval()
    graph, state = nnx.split(net)
    model = model_of("x", lambda s, x: nnx.merge(graph, s)(x), state, X, Y, ACCURACY, 8)
    trained = [a.shape for a, on in zip(model.parameters, model.trainable, strict=True) if on]
    assert sorted(trained) == [(3, 4), (4,), (4,), (4,)][::-1] or len(trained) == 4
    assert sum(model.trainable) == 4  # kernel, bias, scale, bias; not the two averages

    class Linen(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.gelu(nn.BatchNorm(use_running_average=True)(nn.Dense(4)(x)))

    variables = Linen().init(jax.random.key(0), jnp.asarray(X[:1]))
    model = model_of("x", Linen().apply, variables, X, Y, ACCURACY, 8)
    assert sum(model.trainable) == 4 < len(model.trainable)
    model = model_of("x", Linen().apply, variables, X, Y, ACCURACY, 8,
                     lambda path, leaf: "Dense" in path)  # fmt: skip
    assert sum(model.trainable) == 2


def test_targets_groups_and_own_metrics():
    y = np.asarray(logits(W, X)) + 0.1
    tasks = np.arange(40) % 2
    seen = []
    report = jb.switch_report(
        logits, W, {"gelu": "relu"}, X, y, particles=4, metric="mse", groups=tasks,
        options=dataclasses.replace(FEW, finetune_steps=0, boxes=1),
        progress=lambda part, done, total: seen.append(part),
    )  # fmt: skip
    assert report.training is None
    assert [g.name for g in report.kept.groups] in (["0", "1"], ["1", "0"])
    assert report.kept.groups[0].lost >= report.kept.groups[1].lost
    assert report.kept.better == "lower"
    assert "bootstrap" in report.kept.change.method
    assert report.kept.before.estimate == pytest.approx(0.01, rel=1e-4)
    assert report.kept.equivalence.examples == 0
    (proved,) = report.kept.certified
    assert proved.level == "rigorous"
    assert proved.margin is None
    assert proved.observed <= proved.largest
    assert {"validation", "certified change of the outputs", "latency of one for one"} <= set(seen)
    with pytest.raises(ShapeError, match="one for each"):
        jb.switch_report(logits, W, {"gelu": "relu"}, X, Y, tol=1e-2, groups=[1], options=FEW)


# ------------------------------------------------------------------ parts that fail


def whole(fn, **given):
    return jb.switch_report(fn, W, {"gelu": "relu"}, X, Y, tol=1e-2, options=FEW, **given)


def test_a_traced_trip_count_costs_only_what_needs_a_gradient():
    def looped(w, x):
        def body(carry):
            return carry[0] + 1, jax.nn.gelu(carry[1])

        turns = jnp.sum(x > 100).astype(int) + 2
        return jax.lax.while_loop(lambda carry: carry[0] < turns, body, (0, x @ w))[1]

    report = whole(looped)
    assert [f.part for f in report.failures] == ["worst inputs", "fine-tuning, the sham switch"]
    for failure in report.failures:
        assert "traced trip count" in failure.reason
        assert "lax.scan" in failure.reason
    assert report.kept.sites[0].path.startswith("while.body")
    assert report.candidates[0].worth.latency.pairs == 1


def test_a_loss_of_nan_leaves_the_rest():
    report = whole(logits, finetune=jb.FineTune(loss=lambda o, y: jnp.sum(o) * jnp.nan))
    (failure,) = report.failures
    assert failure.part == "fine-tuning, the sham switch"
    assert "lower the learning rate" in failure.reason
    assert report.verdict.outcome == "safe as it is"


def test_bad_input_is_refused_at_once():
    with pytest.raises(UsageError, match="labels from 0 to"):
        jb.switch_report(logits, W, {"gelu": "relu"}, X, Y + 9, tol=1e-2)
    with pytest.raises(ShapeError, match="logits of shape"):
        jb.switch_report(logits, W, {"gelu": "relu"}, X, Y[:-1], tol=1e-2)
    with pytest.raises(NonFiniteError, match="finite"):
        jb.switch_report(logits, W, {"gelu": "relu"}, X * np.nan, Y, tol=1e-2)
    with pytest.raises(NonFiniteError, match="the metric own, which returns nan"):
        own = Metric("own", lambda o, y: float("nan"), higher_is_better=True)
        jb.switch_report(logits, W, {"gelu": "relu"}, X, Y, tol=1e-2, metric=own)
    with pytest.raises(UsageError, match="metric='f1'"):
        jb.switch_report(logits, W, {"gelu": "relu"}, X, Y, tol=1e-2, metric="f1")
    with pytest.raises(UsageError, match=r"model\.eval\(\)"):
        drop = lambda w, x: logits(w, x) * jax.random.bernoulli(jax.random.key(0), 0.5, (4,))  # noqa: E731
        jb.switch_report(drop, W, {"gelu": "relu"}, X, Y, tol=1e-2)
    with pytest.raises(UsageError, match="evaluations=1"):
        jb.ReportOptions(evaluations=1)
    with pytest.raises(UsageError, match="radius"):
        jb.ReportOptions(radius=math.nan)


# ------------------------------------------------------------------ rules


def judged(lost, tol=None, certified=1e-3, level="rigorous", finetuning=None, **limits):
    return verdict_of(ACCURACY, 0.9, lost, certified, level, tol, finetuning, None,
                      jb.Thresholds(**limits))  # fmt: skip


def test_the_verdict_follows_its_rule():
    report = whole(logits)
    run = report.candidates[1].finetuning

    def back(kind, upper, **more):
        steps = dataclasses.replace(run.back.steps, upper=upper)
        return dataclasses.replace(
            run, back=dataclasses.replace(run.back, kind=kind, steps=steps), **more
        )

    assert judged(0.0, tol=1e-3).outcome == "safe as it is"
    assert judged(0.004).outcome == "safe as it is"
    assert judged(0.0, tol=1e-4).outcome == "do not switch"
    assert judged(0.0, tol=1e-3, level="float").outcome == "do not switch"
    assert judged(0.02).outcome == "do not switch"
    assert judged(0.02, max_loss=0.03).outcome == "safe as it is"
    soon, late = back("extrapolated", 900.0), back("extrapolated", math.inf)
    assert judged(0.02, finetuning=soon).outcome == "fine-tune"
    assert "900 steps" in judged(0.02, finetuning=soon).text
    assert judged(0.02, finetuning=soon, max_steps=800).outcome == "do not switch"
    assert judged(0.02, finetuning=late).outcome == "do not switch"
    # the loss is fine from the start, the accuracy is not: the run itself decides
    kept = back("at once", 0.0, metric=0.9, sham_metric=0.9)
    gone = back("at once", 0.0, metric=0.7, sham_metric=0.9)
    assert judged(0.02, finetuning=kept).outcome == "fine-tune"
    assert judged(0.02, finetuning=gone).outcome == "do not switch"
    assert "0.5 points" in judged(0.0).rule
    assert verdict_of(MSE, 2.0, 0.03, None, "sampled", None, None, None,
                      jb.Thresholds()).outcome == "do not switch"  # fmt: skip
    assert front([(1.0, 1.0), (1.0, 1.0), (2.0, 0.5), (2.0, 2.0)]) == [True, True, True, False]


@pytest.mark.parametrize(
    ("before", "after", "answers"),
    [
        (["gelu"], ["relu"], ["no", "yes", "no", "yes", "opset 20", "opset 7"]),
        (["tanh", "gelu"], ["tanh", "relu"], ["no", "no", "no", "no", "opset 20", "opset 7"]),
        (["relu"], ["hard_tanh"], ["yes", "no", "yes", "by hand", "opset 7", "opset 7"]),
        (["silu"], ["repu(2)"], ["no", "no", "no", "no", "opset 7", "opset 7"]),
        (["mish"], ["leaky_relu(0.2)"], ["no", "no", "no", "by hand", "opset 18", "opset 7"]),
    ],
)
def test_tools_answer_by_their_rules(before, after, answers):
    made = tool_answers(*([jb.activation(n) for n in names] for names in (before, after)), 8)
    assert [x for answer in made for x in (answer.before, answer.after)] == answers


def test_every_registered_activation_has_an_operator_or_none():
    # Heaviside is a comparison; every other one has its operators
    missing = [a.name for a in jb.registered_activations() if opset_of(a) is None]
    assert missing == ["heaviside"]
    assert opset_of(jb.activation("gelu_tanh")) == (20, "Gelu, approximate=tanh")
    assert opset_of(jb.activation(lambda z: z * jnp.cos(z), name="mine")) is None
