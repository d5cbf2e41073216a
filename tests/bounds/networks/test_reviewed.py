"""Cases in which a first version of the bound was wrong: none may pass for rigorous again."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbarron as jb

BOX = jb.Box([-0.5] * 3, [0.5] * 3)


def bound(fn, rules, *args, **options):
    with jax.enable_x64(True):
        return jb.end_to_end_bound(fn, rules, *args, **options)


@pytest.mark.parametrize("fill", [0, 2, -1.0])
def test_a_fill_value_is_no_place(fill):
    def fn(x):
        taken = jnp.take(jnp.tanh(x + 2), jnp.array([0, 7]), mode="fill", fill_value=fill)
        return taken @ jnp.array([1.0, -1.0])

    found = bound(fn, {"tanh": "relu"}, jnp.zeros(3), box=BOX, tol=1e-2)
    assert found.level == "sampled"
    assert np.isinf(found.largest)


@pytest.mark.parametrize("place", [0.0, 0.5])
@pytest.mark.parametrize("nested", [False, True])
def test_a_value_of_its_own_at_one_point_is_seen(place, nested):
    def isolated(x):
        if nested:
            return jnp.where(x >= place, jnp.where(x <= place, 5.0, jnp.tanh(x)), jnp.tanh(x))
        return jnp.where(x == place, 5.0, jnp.tanh(x))

    kernel, _ = jb.certified_kernel("tanh", "relu", tol=1e-2)
    for rules, options in (
        ({isolated: "relu"}, {"tol": 5.5}),
        ({isolated: "tanh"}, {"direct": True}),
        ({isolated: (kernel, "relu")}, {}),
    ):
        found = bound(lambda x: isolated(x), rules, jnp.zeros(3), box=BOX, **options)
        assert found.largest >= 4.9, (rules, options)


def test_a_kink_at_the_end_of_a_cell_is_no_isolated_value():
    found = bound(jax.nn.elu, {"elu": "relu"}, jnp.zeros(3), box=BOX, tol=1e-2)
    assert found.level == "rigorous"
    assert found.largest <= 1.01e-2


def test_an_inexact_number_is_no_integer():
    def fn(a, x):
        return jnp.tanh(x) * (jnp.log(a) / jnp.log(10.0)).astype(jnp.int32)

    found = bound(fn, {"tanh": "relu"}, np.float64(1000.0), jnp.zeros(3), box=BOX, argument=1,
                  tol=1e-2)  # fmt: skip
    assert found.level == "sampled"
    assert np.isinf(found.largest)
