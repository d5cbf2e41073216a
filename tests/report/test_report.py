"""The whole report: metrics, parts that fail, and the rules."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbarron as jb
from jaxbarron.errors import NonFiniteError, ShapeError, UsageError
from jaxbarron.report.document import report_document
from jaxbarron.report.page import report_page
from jaxbarron.report.tools import opset_of, tool_answers
from jaxbarron.report.verdict import front, verdict_of
from jaxbarron.switching.metrics import ACCURACY, MSE, Metric

FEW = jb.ReportOptions(
    finetune_steps=4, evaluations=4, finetune_batch=16, sizes=(), pairs=1, boxes=0,
    ascent_steps=2, restarts=1, searched=4, recorded=64, resamples=20, pruned_to=0,
)  # fmt: skip
RNG = np.random.default_rng(0)
W = RNG.normal(size=(3, 4)).astype(np.float32)
X = RNG.normal(size=(40, 3)).astype(np.float32)
Y = RNG.integers(0, 4, 40)


def logits(w, x):
    return jax.nn.gelu(x @ w)


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


def test_a_metric_that_fails_on_fewer_examples_leaves_the_rest():
    def curve(outputs, labels):
        """Like an area under a curve: not there where a class is missing, or rows repeat."""
        whole = len(np.unique(labels)) == 4 and len(np.unique(outputs, axis=0)) == len(outputs)
        return float(np.mean(outputs.argmax(-1) == labels)) if whole else float("nan")

    own = Metric("curve", curve, higher_is_better=True)
    report = jb.switch_report(
        logits, W, {"gelu": "relu"}, X, Y, tol=1e-2, metric=own, groups=Y,
        options=dataclasses.replace(FEW, finetune_steps=0),
    )  # fmt: skip
    assert [f.part for f in report.failures] == [
        "intervals of the metric", "classes or tasks one by one", "validation of one for one",
        "validation of one scaled particle",
    ]  # fmt: skip
    for failure in report.failures:
        assert "the metric curve, which returns nan" in failure.reason
    assert report.kept.before.lower == -math.inf
    assert "none" in report.kept.change.method
    assert report.kept.groups == ()
    assert report.verdict.outcome == "safe as it is"
    assert "which returns nan" in report_page(report)
    json.dumps(report_document(report), allow_nan=False)


def test_a_loss_of_nan_leaves_the_rest():
    report = whole(logits, finetune=jb.FineTune(loss=lambda o, y: jnp.sum(o) * jnp.nan))
    (failure,) = report.failures
    assert failure.part == "fine-tuning, the sham switch"
    assert "lower the learning rate" in failure.reason
    assert report.verdict.outcome == "safe as it is"


def test_bad_input_is_refused_at_once():
    with pytest.raises(UsageError, match="labels from 9 to 12"):
        jb.switch_report(logits, W, {"gelu": "relu"}, X, Y + 9, tol=1e-2)
    with pytest.raises(ShapeError, match="logits of shape"):
        jb.switch_report(logits, W, {"gelu": "relu"}, X, Y[:-1], tol=1e-2)
    with pytest.raises(NonFiniteError, match="finite"):
        jb.switch_report(logits, W, {"gelu": "relu"}, X * np.nan, Y, tol=1e-2)
    own = Metric("own", lambda o, y: float("nan"), higher_is_better=True)
    with pytest.raises(NonFiniteError, match="the metric own, which returns nan"):
        jb.switch_report(logits, W, {"gelu": "relu"}, X, Y, tol=1e-2, metric=own)
    with pytest.raises(UsageError, match="metric='f1'"):
        jb.switch_report(logits, W, {"gelu": "relu"}, X, Y, tol=1e-2, metric="f1")

    def drop(w, x):
        return logits(w, x) * jax.random.bernoulli(jax.random.key(0), 0.5, (4,))

    with pytest.raises(UsageError, match=r"model\.eval\(\)"):
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
        (["gelu"], ["relu"], "no yes|not stated yes|yes yes|not stated yes|no yes|no yes|20 7"),
        (
            ["tanh", "gelu"],
            ["tanh", "relu"],
            "no no|not stated not stated|yes yes|not stated yes|no no|no yes|20 7",
        ),
        (
            ["relu"],
            ["hard_tanh"],
            "yes no|yes yes|yes not stated|yes not stated|yes by hand|yes no|7 7",
        ),
        (
            ["silu"],
            ["repu(2)"],
            "no no|not stated not stated|yes yes|not stated not stated|no no|no no|7 7",
        ),
        (
            ["mish"],
            ["leaky_relu(0.2)"],
            "no no|not stated yes|not stated not stated|not stated not stated|no by hand|no no|"
            "18 7",
        ),
        (
            ["softplus"],
            ["identity"],
            "no yes|not stated yes|not stated yes|not stated yes|no yes|yes yes|7 7",
        ),
    ],
)
def test_tools_answer_by_their_rules(before, after, answers):
    made = tool_answers(*([jb.activation(n) for n in names] for names in (before, after)), 8)
    found = "|".join(f"{answer.before} {answer.after}" for answer in made)
    assert found.replace("opset ", "") == answers


def test_every_registered_activation_has_an_operator_or_none():
    # Heaviside is a comparison; every other one has its operators
    missing = [a.name for a in jb.registered_activations() if opset_of(a) is None]
    assert missing == ["heaviside"]
    assert opset_of(jb.activation("gelu_tanh")) == (20, "Gelu, approximate=tanh")
    assert opset_of(jb.activation(lambda z: z * jnp.cos(z), name="mine")) is None
