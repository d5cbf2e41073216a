"""Errors of evaluation in float32: computed values against double precision."""

from __future__ import annotations

import contextlib
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbarron as jb
from jaxbarron.bounds.networks import floating, steps
from jaxbarron.devices import on_cpu
from jaxbarron.domains import Ball, Box
from jaxbarron.errors import ShapeError, UsageError

RNG = np.random.default_rng(11)
SIZES = (6, 24, 24, 3)
WEIGHTS = [
    (np.float32(RNG.normal(size=(a, b)) / np.sqrt(a)), np.float32(RNG.normal(size=b)))
    for a, b in itertools.pairwise(SIZES)
]

FILTER = WEIGHTS[0][0].reshape(6, 4, 6)[:3, :1]


def network(act: Any) -> Any:
    def apply(x: Any) -> Any:
        for weights, bias in WEIGHTS[:-1]:
            x = act(x @ weights + bias)
        return x @ WEIGHTS[-1][0] + WEIGHTS[-1][1]

    return apply


def doubled(fn: Any, points: Any) -> Any:
    """The same program with every float32 constant as the double that it is."""
    with jax.enable_x64(True):
        closed = jax.make_jaxpr(fn)(jnp.zeros(points.shape[1], jnp.float64))
        return np.asarray(
            jax.jit(jax.vmap(jax.extend.core.jaxpr_as_fun(closed)))(points.astype(np.float64))[0]
        )


CASES = {
    "tanh": network(jnp.tanh),
    "gelu": network(lambda z: jax.nn.gelu(z, approximate=False)),
    "softplus": network(jax.nn.softplus),
    "silu": network(jax.nn.silu),
    "relu": network(jax.nn.relu),
    "softmax": lambda x: jax.nn.softmax(x),
    "convolution": lambda x: jax.nn.sigmoid(jax.lax.conv_general_dilated(
        x.reshape(1, 6, 1), jnp.asarray(FILTER, x.dtype), (1,), "SAME",
        dimension_numbers=("NWC", "WIO", "NWC"))).mean(axis=(0, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_float32_stays_within_the_bound(name: str):
    fn, x = CASES[name], RNG.normal(size=6).astype(np.float32)
    radius = 0.1
    # a GPU may compute a convolution by transforms: it is tested on the CPU
    with on_cpu() if name == "convolution" else contextlib.nullcontext():
        error = jb.float32_error(
            fn, jnp.asarray(x), box=Box(x - radius, x + radius),
            arithmetic=jb.device_arithmetic("cpu" if name == "convolution" else None),
        )  # fmt: skip
    assert error.ends_at is None
    assert error.level == "float"
    points = (x + radius * RNG.uniform(-0.999, 0.999, size=(3000, 6))).astype(np.float32)
    with on_cpu() if name == "convolution" else contextlib.nullcontext():
        computed = np.asarray(jax.jit(jax.vmap(fn))(points), np.float64)
    found = np.abs(computed - doubled(fn, points)).max(axis=0)
    assert np.all(found <= error.upper[0])
    assert np.all(error.upper[0] <= 2e-4)
    assert np.all(error.upper[0] <= 500 * np.maximum(found, 1e-7))


@pytest.mark.parametrize("source", ["tanh", "gelu"])
def test_both_networks_of_a_switch(source: str):
    fn, x = CASES[source], np.zeros(6, np.float32)
    box = Box(x - 0.5, x + 0.5)
    bound = jb.end_to_end_bound(
        fn, {source: "relu"}, jnp.asarray(x), box=box, particles=9, float32=True
    )
    assert bound.evaluation is not None
    assert [e.level for e in bound.evaluation] == ["float", "float"]
    new = jb.switch(fn, {source: "relu"}, particles=9)
    points = RNG.uniform(-0.499, 0.499, size=(2000, 6)).astype(np.float32)
    computed = np.asarray(jax.jit(jax.vmap(new))(points), np.float64)
    with jax.enable_x64(True):
        exact = np.asarray(jax.vmap(new)(points.astype(np.float64)))
    assert np.all(np.abs(computed - exact).max(axis=0) <= bound.evaluation[1].upper[0])
    old = np.asarray(jax.jit(jax.vmap(fn))(points), np.float64)
    assert np.max(np.abs(computed - old)) <= bound.largest_evaluated
    assert bound.largest_evaluated < bound.largest + 1e-3
    plain = jb.end_to_end_bound(fn, {source: "relu"}, jnp.asarray(x), box=box, particles=9)
    assert plain.evaluation is None
    assert plain.largest_evaluated == float("inf")


@pytest.mark.parametrize("fault", ["sums", "functions", "carried", "spline"])
def test_a_planted_fault_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch):
    x = np.full(6, 0.3, np.float32)
    box = Box(x, x + 1e-3)
    fn, arithmetic = CASES["relu"], jb.Arithmetic()
    if fault == "sums":
        monkeypatch.setattr(floating, "_gamma", lambda n, unit: 0.0)
        fn = lambda x: jnp.sum(jnp.stack([x, 3 * x, 7 * x, -5 * x]), axis=0)  # noqa: E731
        monkeypatch.setattr(floating, "_rounded", lambda lo, hi, e, u, extra=0.0, **_: (
            floating.Enclosed(lo, hi, e, u)))  # fmt: skip
    elif fault == "functions":
        arithmetic = jb.Arithmetic(ulps={"tanh": 1e-3})
        fn = jnp.tanh
    elif fault == "carried":
        real = floating.MONOTONE["exp"][0]
        monkeypatch.setitem(floating.MONOTONE, "exp", (real, lambda low, high: 0.0 * low))
        fn = lambda x: jnp.exp(10 * (x @ WEIGHTS[0][0]))  # noqa: E731
    else:
        fn = jb.switch(jnp.tanh, {"tanh": "relu"}, particles=9)
        monkeypatch.setattr(steps, "_UNIT", 0.0)
    error = jb.float32_error(fn, jnp.asarray(x), box=box, arithmetic=arithmetic)
    points = RNG.uniform(x, x + np.float32(1e-3), size=(3000, 6)).astype(np.float32)
    computed = np.asarray(jax.jit(jax.vmap(fn))(points), np.float64)
    with jax.enable_x64(True):
        exact = np.asarray(jax.vmap(fn)(points.astype(np.float64)))
    assert not np.all(np.abs(computed - exact).max(axis=0) <= error.upper[0])


def test_balls_and_coarse_products():
    x = jnp.asarray(RNG.normal(size=6), jnp.float32)
    with jax.default_matmul_precision("default"):
        fine, coarse = (
            jb.float32_error(CASES["tanh"], x, ball=Ball(0.1, ord=2), arithmetic=arithmetic)
            for arithmetic in (jb.Arithmetic(), jb.Arithmetic(products=2.0**-11))
        )
    assert 100 * fine.largest < coarse.largest < 1.0


def test_it_ends_where_there_is_no_rule():
    x = jnp.zeros(3, jnp.float32)
    box = Box(np.zeros(3), np.ones(3))
    for fn, word in (
        (lambda x: jnp.where(x > 0.5, x, 2 * x) * x, "gt"),
        (jnp.cbrt, "cbrt"),
        (lambda x: 1 / x, "div"),
        (lambda x: x.astype(jnp.bfloat16), "bfloat16"),
        (jnp.sort, "sort"),
    ):
        found = jb.float32_error(fn, x, box=box)
        assert found.level == "sampled"
        assert found.ends_at is not None
        assert word in found.ends_at
        assert found.largest == float("inf")


def test_bad_input():
    x = jnp.zeros(3, jnp.float32)
    with pytest.raises(ShapeError, match="dimension 2"):
        jb.float32_error(jnp.tanh, x, box=Box([0.0, 0.0], [1.0, 1.0]))
    with pytest.raises(UsageError, match="both or none"):
        jb.float32_error(jnp.tanh, x)
    with pytest.raises(UsageError, match="float32"):
        jb.float32_error(jnp.tanh, x.astype(jnp.float16), box=Box(np.zeros(3), np.ones(3)))


def _in_tf32(x: Any) -> Any:
    """To 11 bits, to the nearest: what a GPU does to the factors of a product."""
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    rounded = (bits + 0xFFF + ((bits >> 13) & 1)) & jnp.uint32(0xFFFFE000)
    return jax.lax.bitcast_convert_type(rounded, jnp.float32)


def test_what_a_gpu_multiplies_needs_the_unit_of_a_gpu():
    """The assumption for a CPU is the planted fault."""
    weights = WEIGHTS[0][0]
    fn = lambda x: jnp.tanh(x @ weights)  # noqa: E731
    x = RNG.normal(size=6).astype(np.float32)
    box = Box(x - 0.1, x + 0.1)
    points = (x + 0.1 * RNG.uniform(-0.999, 0.999, size=(500, 6))).astype(np.float32)
    there = np.asarray(jnp.tanh(_in_tf32(points) @ _in_tf32(weights)), np.float64)
    found = np.abs(there - doubled(fn, points)).max(axis=0)
    for platform, enough in (("cuda", True), ("tpu", True), ("cpu", False)):
        with jax.default_matmul_precision("default"):
            error = jb.float32_error(fn, jnp.asarray(x), box=box,
                                     arithmetic=jb.device_arithmetic(platform))  # fmt: skip
        assert np.all(found <= error.upper[0]) == enough


@pytest.mark.parametrize(
    ("precision", "cpu", "gpu"),
    [
        ("default", 2.0**-24, 2.0**-10),
        ("high", 2.0**-24, 2.0**-10),
        ("highest", 2.0**-24, 2.0**-24),
        (("highest", "default"), 2.0**-24, 2.0**-10),
        ("F32_F32_F32", 2.0**-24, 2.0**-24),
        ("BF16_BF16_F32", None, None),
    ],
)
def test_the_precision_asked_for_decides(precision: Any, cpu: float | None, gpu: float | None):
    x = jnp.ones(6, jnp.float32)
    box = Box(np.full(6, 0.5), np.full(6, 1.5))
    if isinstance(precision, str) and precision[0].isupper():
        precision = jax.lax.DotAlgorithmPreset[precision]
    fn = lambda x: jnp.matmul(x, WEIGHTS[0][0], precision=precision)  # noqa: E731
    plain = lambda x: jnp.matmul(x, WEIGHTS[0][0], precision="highest")  # noqa: E731
    for platform, unit in (("cpu", cpu), ("gpu", gpu)):
        error = jb.float32_error(fn, x, box=box, arithmetic=jb.device_arithmetic(platform))
        if unit is None:
            assert error.ends_at is not None
            assert "BF16_BF16_F32" in error.ends_at
            continue
        wanted = jb.Arithmetic(products=unit, highest=unit)
        same = jb.float32_error(plain, x, box=box, arithmetic=wanted)
        np.testing.assert_array_equal(error.upper[0], same.upper[0])


# ----------------------------------------------------------------- overflow

OVERFLOWS = {
    # the square is infinite in float32, so the quotient 0 and not 1
    "square": (lambda z: z / jnp.sqrt(jnp.square(z) + 1), 1e25, 2e25),
    "sum": (lambda z: 1e37 / jnp.sum(jnp.broadcast_to(z, (8,)) * jnp.ones(8, "f")), 1e38, 2e38),
    "product": (lambda z: 1 / (z @ jnp.full((1,), 3e20, "f") + 1), 1e19, 2e19),
    # compiled: z + inf
    "constants": (lambda z: (z + 3e38) + 3e38, -3e38, -2.9e38),
    # compiled: z times a constant that is 0 or infinite
    "pieces": (
        jax.jit(lambda z: jnp.where(z > 0, (z * 1e-3) * 3e20 * 3e20 * 1e-38 * 1e-3, 0.0)),
        -1e-2,
        1e-2,
    ),
    "a piece": (jax.jit(lambda z: 1 / (1 + jnp.where(z > 0, z * z, 0.0))), -1e25, 1e25),
}


@pytest.mark.parametrize("name", OVERFLOWS)
def test_what_overflows_has_no_bound(name):
    fn, low, high = OVERFLOWS[name]
    x = jnp.full(1, (low + high) / 2, jnp.float32)
    error = jb.float32_error(fn, x, box=Box([low], [high]))
    assert error.largest == math.inf
    assert error.level == "sampled"
    assert error.ends_at is not None


def test_just_below_the_largest_float_there_is_a_bound():
    box = Box([1.0e19], [1.8e19])
    error = jb.float32_error(jnp.square, jnp.full(1, 1.5e19, jnp.float32), box=box)
    assert error.largest < 1e32
    box = Box([1.0e19], [1.85e19])
    assert jb.float32_error(jnp.square, jnp.full(1, 1.5e19, jnp.float32), box=box).ends_at


def test_a_convolution_by_transforms_has_no_bound():
    x = jnp.ones(6, jnp.float32)
    box = Box(np.full(6, 0.5), np.full(6, 1.5))
    for platform, direct in (("cpu", True), ("cuda", False), ("tpu", False)):
        error = jb.float32_error(
            CASES["convolution"], x, box=box, arithmetic=jb.device_arithmetic(platform)
        )
        assert (error.ends_at is None) == direct
        assert direct or "transforms" in str(error.ends_at)
