"""A tolerance at the output, shared out: kept, proved, and cheaper than the same K everywhere."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbarron as jb
from jaxbarron.errors import NonFiniteError, ShapeError, ToleranceError, UsageError

RULES: dict[Any, Any] = {"tanh": "relu", "gelu": "relu"}
RNG = np.random.default_rng(0)
FIRST, SECOND, LAST = (
    RNG.normal(size=(6, 24)) / 3,
    RNG.normal(size=(6, 8)) / 3,
    RNG.normal(size=(32, 2)),
)
X = jnp.asarray(RNG.normal(size=6))
BOX = jb.Box(np.asarray(X, float) - 0.05, np.asarray(X, float) + 0.05)


def model(x: Any) -> Any:
    """The first site is large and matters little, the second is small and matters much."""
    first = jax.nn.gelu(x @ FIRST, approximate=False) / 100
    return jnp.concatenate([first, jnp.tanh(x @ SECOND)]) @ LAST


@pytest.fixture(scope="module")
def proved() -> jb.SharedTolerance:
    with jax.enable_x64(True):
        return jb.share_tolerance(model, RULES, X, output_tol=0.01, box=BOX)


def test_kept_by_proof_and_cheaper_than_uniform(x64: Any, proved: jb.SharedTolerance) -> None:
    shared, tol = proved, 0.01
    assert shared.level == "rigorous"
    assert shared.rounds <= 5
    assert shared.change <= tol
    particles = dict(shared.particles)
    assert len(particles) == 2
    assert shared.cost == sum(n * k for n, k in zip((24, 8), particles.values(), strict=True))
    again = jb.end_to_end_bound(model, shared.rules, X, box=BOX)
    assert again.largest == pytest.approx(shared.change)
    new = jb.switch(model, shared.rules)
    points = np.asarray(BOX.lower) + 0.1 * RNG.uniform(size=(500, 6))
    assert float(jnp.max(jnp.abs(jax.vmap(lambda p: new(p) - model(p))(points)))) <= tol
    # at the same cost, the same number at each site does not keep the tolerance
    uniform = jb.end_to_end_bound(model, RULES, X, box=BOX, particles=shared.cost // (24 + 8))
    assert uniform.largest > 2 * tol
    for path, error in shared.errors:
        kernel, target = shared.rules[path]
        name = "tanh" if "tanh" in path else "gelu"
        assert jb.kernel_certificate(kernel, name, target).upper == pytest.approx(error)


def test_kept_on_data(x64: Any, proved: jb.SharedTolerance) -> None:
    samples = np.asarray(X) + 0.3 * RNG.uniform(-1, 1, (40, 6))
    shared = jb.share_tolerance(model, RULES, X, output_tol=0.01, samples=samples)
    assert shared.level == "sampled"
    new = jb.switch(model, shared.rules)
    seen = jax.vmap(lambda p: new(p) - model(p))(jnp.asarray(samples))
    assert float(jnp.max(jnp.abs(seen))) == pytest.approx(shared.change, rel=1e-6)
    assert shared.change <= 0.01
    assert shared.cost <= proved.cost  # what was seen asks for less than what can be proved


def test_what_is_given_or_exact_stays() -> None:
    kernel, _ = jb.certified_kernel("tanh", "relu", particles=9)

    def fn(x: Any) -> Any:
        return 0.1 * jnp.sum(jnp.tanh(x)) + jnp.sum(jax.nn.silu(jax.nn.leaky_relu(x)))

    rules: dict[Any, Any] = {"tanh": (kernel, "relu"), "leaky_relu": "relu", "silu": "relu"}
    shared = jb.share_tolerance(fn, rules, X, output_tol=0.1, box=BOX)
    assert shared.change <= 0.1
    assert any(found is kernel for found, _ in shared.rules.values())


def test_a_switch_takes_the_tolerance_itself(x64: Any, proved: jb.SharedTolerance) -> None:
    new: Any = jb.switch(model, RULES, output_tol=0.01, args=(X,), box=BOX)
    assert new.shared.level == "rigorous"
    assert dict(new.shared.particles) == dict(proved.particles)
    points = np.asarray(BOX.lower) + 0.1 * RNG.uniform(size=(200, 6))
    seen = jax.vmap(lambda p: new(p) - model(p))(jnp.asarray(points))
    assert float(jnp.max(jnp.abs(seen))) <= new.shared.change <= 0.01
    for plan in new.shared.planned:
        assert jb.verify(plan.certificate)
        assert plan.kernel is new.shared.rules[plan.site.path][0]


def test_what_cannot_be_proved_is_measured_and_says_so() -> None:
    def ends(x: Any) -> Any:
        return jnp.sort(jnp.tanh(x))

    samples = np.asarray(X) + 0.3 * RNG.uniform(-1, 1, (20, 6))
    rules: dict[Any, Any] = {"tanh": "relu"}
    new: Any = jb.switch(ends, rules, output_tol=0.01, args=(X,), box=BOX, samples=samples)
    assert new.shared.level == "sampled"
    assert "sort" in new.shared.unproved
    seen = max(float(jnp.max(jnp.abs(new(p) - ends(p)))) for p in jnp.asarray(samples, X.dtype))
    assert seen == pytest.approx(new.shared.change, rel=1e-3)
    assert seen <= 0.01
    new = jb.switch(ends, rules, output_tol=0.1, args=(X,), samples=samples)
    assert new.shared.unproved is None


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"tol": 1e-3, "args": (X,), "box": BOX}, "tol beside output_tol"),
        ({"particles": 8, "args": (X,), "box": BOX}, "particles beside output_tol"),
        ({"direct": True, "args": (X,), "box": BOX}, "direct beside output_tol"),
        ({"reach": 3.0, "args": (X,), "box": BOX}, "reach beside output_tol"),
        ({"box": BOX}, "without args"),
        ({"args": (X,)}, "none of box"),
    ],
)
def test_contradictory_demands_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        jb.switch(model, RULES, output_tol=0.01, **options)
    with pytest.raises(UsageError, match="box without output_tol"):
        jb.switch(model, RULES, tol=1e-3, box=BOX)


def test_bad_input() -> None:
    def fn(x: Any) -> Any:
        return jnp.sum(jnp.tanh(x))

    rules: dict[Any, Any] = {"tanh": "relu"}
    with pytest.raises(ToleranceError, match="output_tol"):
        jb.share_tolerance(fn, rules, X, output_tol=0.0, box=BOX)
    with pytest.raises(ToleranceError, match="256"):
        jb.share_tolerance(fn, rules, X, output_tol=1e-7, box=BOX)
    with pytest.raises(UsageError, match="none of box"):
        jb.share_tolerance(fn, rules, X, output_tol=0.1)
    with pytest.raises(UsageError, match="sort"):
        jb.share_tolerance(lambda x: jnp.sort(jnp.tanh(x)), rules, X, output_tol=0.1, box=BOX)
    with pytest.raises(ShapeError, match="one more axis"):
        jb.share_tolerance(fn, rules, X, output_tol=0.1, samples=X)


def test_samples_with_outputs_that_are_no_numbers() -> None:
    def net(x: Any) -> Any:
        return 0.01 * jnp.tanh(x) + 0 * jnp.log(x[0])

    samples = jnp.asarray([[1.0, 2.0], [-1.0, 2.0]])
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        jb.share_tolerance(net, {"tanh": "relu"}, jnp.ones(2), output_tol=1e-3, samples=samples)
