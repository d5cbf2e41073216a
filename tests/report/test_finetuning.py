"""Short runs, their extrapolation, and what stops them."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxbarron.errors import NonFiniteError, UsageError
from jaxbarron.report.data import Thresholds
from jaxbarron.report.extrapolation import crossing, smoothed
from jaxbarron.report.finetuning import finetuning_of, prepare, sham_of
from jaxbarron.report.options import FineTune, ReportOptions
from jaxbarron.report.subject import model_of
from jaxbarron.report.training import Plan, course, default_loss, order_of
from jaxbarron.switching.metrics import ACCURACY, MSE

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)
W = RNG.normal(size=(3, 2)).astype(np.float32)
OPTIONS = ReportOptions(finetune_steps=8, evaluations=4, finetune_batch=10)


def linear(w, x):
    return x @ w


# ------------------------------------------------------------------ the run


def test_the_run_is_gradient_descent():
    rate, order = 0.1, order_of(0, 40, 10, 8, 4)
    y = (X @ W + 1).astype(np.float32)
    _, loss = default_loss(2, y)
    plan = Plan(loss, optax.sgd(rate), jnp.asarray(X), jnp.asarray(y), X, y, order, (True,), 20)
    ran = course("a case", linear, W, plan)
    w = W.astype(np.float64)
    expected = [((X @ w - y) ** 2).mean()]
    for chunk in order:
        for rows in chunk:
            gap = X[rows] @ w - y[rows]
            w = w - rate * 2 * X[rows].T @ gap / gap.size
        expected.append(((X @ w - y) ** 2).mean())
    np.testing.assert_allclose(ran.losses.mean(1), expected, rtol=1e-4)
    np.testing.assert_allclose(ran.outputs, X @ w, atol=1e-4)
    assert ran.steps.tolist() == [0, 2, 4, 6, 8]
    assert ran.seconds_per_step > 0
    # two products with 10 x 3 x 2 of two operations each, at least
    assert ran.flops_per_step > 2 * 2 * 10 * 3 * 2


def test_a_longer_order_begins_with_the_shorter_one():
    short, long = (order_of(3, 7, 3, n, n // 2) for n in (8, 40))
    np.testing.assert_array_equal(short, long[:4])
    assert set(long.ravel()) == set(range(7))


def test_what_is_no_parameter_stays():
    order = order_of(0, 40, 10, 8, 4)
    y = np.zeros((40, 2), np.float32)
    plan = Plan(default_loss(2, y)[1], optax.sgd(0.1), X, y, X, y, order, (False, True), 40)
    ran = course("a case", lambda p, x: x @ p[1] * p[0] + p[0], [jnp.ones(()), W], plan)
    assert ran.losses[-1].mean() < ran.losses[0].mean()
    frozen = Plan(default_loss(2, y)[1], optax.sgd(0.1), X, y, X, y, order, (False, False), 40)
    ran = course("a case", lambda p, x: x @ p[1] * p[0], [jnp.ones(()), W], frozen)
    np.testing.assert_array_equal(ran.losses[0], ran.losses[-1])


def test_sham_and_candidate_are_one_run_apart():
    y = (X @ W).argmax(1)
    model = model_of("the model", linear, W, X, y, ACCURACY, 16)
    tune = FineTune(train=(X, y))
    sham = sham_of(model, prepare(model, (40, 2), tune, OPTIONS), tune, OPTIONS, Thresholds())
    same = finetuning_of("itself", model.apply, model, sham, OPTIONS)
    assert same.excess == (0.0,) * 5
    assert same.back.kind == "at once"
    assert same.metric == sham.metric == same.sham_metric
    assert sham.training.tolerance == 0.01
    assert sham.training.trained == 6
    worse = finetuning_of(
        "worse", lambda w, x: model.apply(w, x) + jnp.array([3.0, 0.0]), model, sham, OPTIONS
    )
    assert worse.back.kind != "at once"
    assert worse.excess[0] > 0.1
    assert worse.back.examples.lower == 10 * worse.back.steps.lower


def test_without_training_data_the_halves_do_not_meet():
    y = np.arange(40).astype(np.float32)[:, None]
    model = model_of("the model", lambda w, x: x @ w[:, :1], W, X, y, MSE, 16)
    plan, name, split = prepare(model, (40, 1), FineTune(), OPTIONS)
    assert name == "mean square error"
    assert "no training data" in split
    assert not set(np.ravel(plan.y)) & set(np.ravel(plan.held_y))
    assert len(plan.x) == len(plan.held_x) == 20


@pytest.mark.parametrize(
    ("error", "match", "loss", "optimiser"),
    [
        (NonFiniteError, "lower the learning rate", None, optax.sgd(1e30)),
        (NonFiniteError, "is nan after about 0 steps", lambda o, y: jnp.log(-jnp.mean(o**2)), None),
        (UsageError, "KeyError: 'no such label'", lambda o, y: {}["no such label"], None),
    ],
)
def test_what_breaks_a_run_is_said(error, match, loss, optimiser):
    y = (X @ W + 1).astype(np.float32)
    model = model_of("the model", linear, W, X, y, MSE, 40)
    tune = FineTune((X, y), loss, optimiser)
    with pytest.raises(error, match=match):
        sham_of(model, prepare(model, (40, 2), tune, OPTIONS), tune, OPTIONS, Thresholds())


def test_a_model_without_parameters_is_not_trained():
    model = model_of("the model", lambda _, x: x @ W, None, X, (X @ W).argmax(1), ACCURACY, 40)
    with pytest.raises(UsageError, match="not in a closure"):
        prepare(model, (40, 2), FineTune(), OPTIONS)
    with pytest.raises(UsageError, match="a loss of your own"):
        default_loss(3, np.zeros((4, 2)))


# ------------------------------------------------------------------ the estimate

STEPS = np.arange(0, 101, 5)


def noisy(curve, spread=0.0, seed=0):
    noise = np.random.default_rng(seed).normal(size=(len(curve), 64))
    return curve[:, None] + spread * noise


def test_what_is_crossed_in_the_run_is_read_off():
    found = crossing(STEPS, noisy(np.exp(-STEPS / 20)), np.exp(-2))
    assert found.kind == "measured"
    assert found.lower <= 40 <= found.upper
    assert found.upper - found.lower <= 10
    assert abs(found.estimate - 40) < 1
    assert crossing(STEPS, noisy(np.exp(-STEPS / 20)), 1.0).kind == "at once"
    assert crossing(STEPS, noisy(0 * STEPS - 0.1), 0.01).estimate == 0


@pytest.mark.parametrize("seed", range(3))
def test_both_laws_lie_within_the_interval(seed):
    spread = 0.03
    power, exponential = (1 + STEPS / 5) ** -0.8, np.exp(-STEPS / 60)
    for curve, at, tolerance in (
        (power, 5 * (0.03 ** (-1 / 0.8) - 1), 0.03),
        (exponential, 60 * np.log(20), 0.05),
    ):
        found = crossing(STEPS, noisy(curve, spread, seed), tolerance)
        assert found.kind == "extrapolated"
        assert found.lower <= at <= found.upper


def test_what_does_not_fall_is_not_promised():
    found = crossing(STEPS, noisy(1 + 0.001 * STEPS), 0.5)
    assert found.kind == "not in sight"
    assert found.lower == 100
    assert found.upper == np.inf
    # a plateau: the upper end is open
    assert crossing(STEPS, noisy(0.5 + 0.5 * np.exp(-STEPS / 10)), 0.01).upper == np.inf


def test_one_lucky_evaluation_is_no_return():
    curve = np.linspace(1, 0.5, len(STEPS))
    curve[4] = -1
    assert crossing(STEPS, noisy(curve), 0.1).kind == "extrapolated"
    assert smoothed(np.array([1.0, 2.0])).tolist() == [1, 2]
