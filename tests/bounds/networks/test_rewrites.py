"""What XLA makes of a program in float32 stays within the bounds: attacked with and without jit."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbarron as jb
from jaxbarron.bounds.networks import rewrites
from jaxbarron.domains import Box


def number(x: Any, value: float) -> Any:
    """The float32 constant, in the dtype of x."""
    return jnp.asarray(np.float32(value), x.dtype)


PROGRAMS: dict[str, tuple[Any, Any, Any]] = {
    "quotient": (lambda x: x / number(x, 7), [1.0] * 4, [1.01] * 4),
    "large quotient": (lambda x: x / number(x, 3e38), [1e38] * 2, [1.1e38] * 2),
    "sums": (lambda x: (x + number(x, 1e8)) + number(x, 1.5), [-1e8 - 8], [-1e8 + 8]),
    "reshaped sums": (lambda x: (x - number(x, 1e8)).reshape(1, -1) + number(x, 1.5),
                      [1e8 - 8] * 3, [1e8 + 8] * 3),
    "reversed sums": (lambda x: (number(x, 1e8) - x) + number(x, 1.5), [1e8 - 8], [1e8 + 8]),
    "products": (lambda x: (x * number(x, 1e-30)) * number(x, 1e-30), [1e37], [1.1e37]),
    "exponentials": (lambda x: jnp.exp(x[:1]) * jnp.exp(x[1:]), [39.0] * 2, [40.0] * 2),
    "their quotient": (lambda x: jnp.exp(x[:1]) / jnp.exp(x[1:]), [39.0, -40.0], [40.0, -39.0]),
    "their power": (lambda x: jnp.exp(x) ** 3, [25.0], [25.2]),
    "below an exponential": (lambda x: x[:1] / jnp.exp(x[1:]), [1e30, 87.5], [1.1e30, 88.0]),
    "exp2": (jnp.exp2, [100.0], [101.0]),
    "sinh": (jnp.sinh, [50.0], [50.2]),
    "erfc": (jax.lax.erfc, [8.0], [8.1]),
}  # fmt: skip


# What a compiler may make of some of them, written out: not every version of XLA does.
REWRITTEN: dict[str, Any] = {
    "sums": lambda x: x + (number(x, 1e8) + number(x, 1.5)),
    "products": lambda x: x * (number(x, 1e-30) * number(x, 1e-30)),
    "quotient": lambda x: x * (number(x, 1) / number(x, 7)),
    "their power": lambda x: jnp.exp(x * number(x, 3)),
}


def excess(fn: Any, low: Any, high: Any, rewritten: Any = None) -> float:
    """The largest error found, over the bound."""
    low, high = np.asarray(low), np.asarray(high)
    error = jb.float32_error(fn, jnp.zeros(len(low), jnp.float32), box=Box(low, high))
    assert error.ends_at is None
    points = np.random.default_rng(0).uniform(low, high, size=(4000, len(low))).astype(np.float32)
    points = np.clip(points, np.nextafter(np.float32(low), np.float32(np.inf)),
                     np.nextafter(np.float32(high), np.float32(-np.inf)))  # fmt: skip
    with jax.enable_x64(True):
        exact = np.asarray(jax.vmap(fn)(points.astype(np.float64)))
    found = [np.asarray(run(jax.vmap(fn))(points), np.float64) for run in (jax.jit, lambda f: f)]
    if rewritten is not None:
        found.append(np.asarray(jax.vmap(rewritten)(points), np.float64))  # step by step
    return max(float(np.max(np.abs(y - exact) / error.upper[0])) for y in found)


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_compiled_or_not_the_error_stays_within_the_bound(name: str):
    assert excess(*PROGRAMS[name], REWRITTEN.get(name)) <= 1.0


@pytest.mark.parametrize("rule", ["shifted", "product", "quotient", "power"])
def test_without_the_rule_the_bound_fails(rule: str, monkeypatch: pytest.MonkeyPatch):
    name = {"shifted": "sums", "product": "products", "quotient": "quotient",
            "power": "their power"}[rule]  # fmt: skip
    real = getattr(rewrites, rule)
    monkeypatch.setattr(rewrites, rule, lambda *args: (0.0, real(*args)[1]))
    assert excess(*PROGRAMS[name], REWRITTEN[name]) > 1.0


@pytest.mark.parametrize(
    ("fn", "low", "high"),
    [
        (lambda x: (x * number(x, 1e30)) * number(x, 1e30), [1e-37], [1.1e-37]),
        (lambda x: (x[:1] / x[1:2]) / x[2:], [1e-30, 1e-20, 1e-20], [1.1e-30, 1.1e-20, 1.1e-20]),
        (lambda x: x[:1] / (x[1:2] / x[2:]), [1e30] * 3, [1.1e30] * 3),
        (lambda x: (x * number(x, 1e-30)) ** 2, [1e30], [1.1e30]),
    ],
)
def test_what_may_overflow_when_it_is_merged_has_no_bound(fn: Any, low: Any, high: Any):
    error = jb.float32_error(fn, jnp.zeros(len(low), jnp.float32), box=Box(low, high))
    assert error.ends_at is not None
    assert "overflow" in error.ends_at
    assert error.largest == float("inf")


def _ramp(start: float, width: float) -> jb.ParticleMeasure:
    return jb.ParticleMeasure(
        np.array([[1.0], [-1.0]]) / width, np.ones((2, 1)), np.array([-start, -start - width])
    )


@pytest.mark.parametrize(
    ("act", "place"),
    [
        (jax.jit(lambda z: jnp.where(z > 0.5, jnp.ones_like(z), 0 * z)), 0.5),
        (jax.jit(lambda z: jnp.where(z >= 0.5, z, 2 * z)), 0.5),
        (jb.switch(jnp.tanh, {"tanh": (_ramp(1 / 3, 1e-10), "relu")}), 1 / 3),
    ],
)
def test_where_a_function_jumps_nothing_is_claimed(act: Any, place: float):
    """A rounded argument may lie on the other side: the error is that of the jump."""

    def fn(x: Any) -> Any:
        return act(x * number(x, 3.3) + number(x, 0.7))

    middle = (place - 0.7) / 3.3
    box = Box([middle - 0.01], [middle + 0.01])
    error = jb.float32_error(fn, jnp.zeros(1, jnp.float32), box=box)
    assert error.ends_at is not None
    assert "do not meet" in error.ends_at
    assert error.largest == float("inf")


def test_a_jump_at_the_end_of_the_box():
    act = jax.jit(lambda z: jnp.where(z >= 0.5, z, 2 * z))
    error = jb.float32_error(act, jnp.zeros(1, jnp.float32), box=Box([0.25], [0.5]))
    assert error.largest == float("inf")
