"""Measures and switched models on two devices: the same result as on one, no retracing."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json, jax, jax.numpy as jnp, numpy as np
import jaxbarron as jb
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

assert len(jax.devices()) == 2
mesh = jax.make_mesh((2,), ("i",), axis_types=(AxisType.Auto,))
rng = np.random.default_rng(0)
arrays = [jnp.asarray(rng.normal(size=n), jnp.float32) for n in ((64, 3), (64, 5), (64,))]
mu, x = jb.ParticleMeasure(*arrays), jnp.asarray(rng.normal(size=(32, 5)), jnp.float32)
kernel, _ = jb.certified_kernel("gelu", "relu", particles=4)
def model(mu, x):
    return jax.nn.gelu(x @ mu.directions.T) @ mu.weights
ball, traces = jb.Ball(2.0), []

def work(mu, x):
    traces.append(1)
    nu = jb.push_forward(kernel, mu)
    flat = lambda mu: jnp.sum(jb.evaluate(mu, "gelu", x) ** 2)
    return {
        "evaluate": jb.evaluate(mu, "gelu", x),
        "streamed": jb.evaluate(mu, "gelu", x, batch_size=24),
        "flat": jb.evaluate(nu, "relu", x),
        "factored": jb.evaluate(mu, jb.kernel_as_activation(kernel, "relu"), x),
        "switched": jb.switch(model, {"gelu": (kernel, "relu")})(mu, x),
        "norm": jb.norm(mu, ball),
        "slope": jax.grad(jax.checkpoint(flat))(mu),
        "mapped": jax.vmap(lambda x: jb.evaluate(mu, "gelu", x))(x),
    }

put = lambda tree, spec: jax.tree.map(lambda a: jax.device_put(a, NamedSharding(mesh, spec)), tree)
run = jax.jit(work)
want = run(mu, x)
report = {"traces": [len(traces)]}
for name, (m, y) in {
    "particles": (put(mu, P("i")), put(x, P())),
    "points": (put(mu, P()), put(x, P("i"))),
}.items():
    for _ in range(3):
        got = run(m, y)
    gap = lambda a, b: float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b)))
    gaps = jax.tree.map(gap, got, want)
    report[name] = {k: max(jax.tree.leaves(v)) for k, v in gaps.items()}
    report["traces"].append(len(traces))
pushed = jax.jit(jb.push_forward)(kernel.astype(jnp.float32), put(mu, P("i")))
report["shards"] = len({s.device for s in pushed.weights.addressable_shards})
report["spread"] = pushed.weights.sharding.is_fully_replicated
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def report():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
                   "JAX_PLATFORMS": "cpu"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("layout", ["particles", "points"])
def test_the_same_result_wherever_the_arrays_lie(report, layout):
    assert set(report[layout]) == {"evaluate", "streamed", "flat", "factored", "switched", "norm",
                                   "slope", "mapped"}  # fmt: skip
    assert max(report[layout].values()) < 1e-5


def test_a_call_in_a_loop_is_traced_once_for_each_layout(report):
    counts = report["traces"]
    assert all(after - before <= 1 for before, after in itertools.pairwise(counts))


def test_a_pushed_measure_stays_on_its_devices(report):
    assert report["shards"] == 2
    assert not report["spread"]
