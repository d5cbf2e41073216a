"""Knots removed in training: the schedule, the run, what is certified of its result."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxbarron as jb
from jaxbarron.errors import UsageError
from jaxbarron.report.pruning import pruning_schedule

RNG = np.random.default_rng(0)
W = [RNG.normal(size=s).astype(np.float32) for s in ((3, 8), (8, 6), (6, 4))]
X = RNG.normal(size=(80, 3)).astype(np.float32)
FEW = jb.ReportOptions(finetune_steps=20, evaluations=10, finetune_batch=16, recorded=80)


def net(w, x):
    return jnp.tanh(jax.nn.gelu(x @ w[0]) @ w[1]) @ w[2]


Y = np.asarray(net(W, X)).argmax(1)
RULES = {"gelu": "relu", "tanh": "relu"}


@pytest.fixture(scope="module")
def found():
    before = [w.copy() for w in W]
    made = jb.remove_knots(
        net, W, RULES, X, Y, to=2, particles=9, finetune=jb.FineTune(train=(X, Y)), options=FEW
    )
    assert all(np.array_equal(a, b) for a, b in zip(before, W, strict=True))
    return made


@pytest.mark.parametrize(("first", "last", "removals"), [(16, 2, 14), (23, 1, 7), (3, 3, 5)])
def test_the_schedule_falls_and_ends_where_it_should(first, last, removals):
    numbers = pruning_schedule(first, last, removals)
    assert len(numbers) == removals
    assert numbers[-1] == last
    assert list(numbers) == sorted(numbers, reverse=True)
    assert max(numbers) <= first
    # cubic: half of the removals are done with more than half of the particles
    assert first == last or numbers[removals // 2] - last < (first - last) / 2


def test_what_comes_back_is_the_model_that_was_measured(found):
    assert [x.particles for x in found.stages] == sorted(
        {x.particles for x in found.stages}, reverse=True
    )
    assert found.stages[0].particles == 9
    assert [kernel.particles for kernel, _ in found.rules.values()] == [2, 2]
    assert found.stages[0].first_step == 0
    assert found.stages[-1].last_step == 20
    for one, other in zip(found.stages, found.stages[1:], strict=False):
        assert one.last_step == other.first_step
    assert found.stages[0].removal == 0 < found.stages[1].removal
    run = found.finetuning
    assert len(run.loss) == 11
    new = np.asarray(jb.switch(net, found.rules)(found.parameters, X), np.float64)
    loss = np.mean(jax.nn.logsumexp(new, axis=1) - new[np.arange(80), Y])
    assert loss == pytest.approx(run.loss[-1], rel=1e-4)
    assert found.stages[-1].metric == pytest.approx(np.mean(new.argmax(1) == Y))
    assert found.stages[-1].excess == pytest.approx(run.loss[-1] - run.sham[-1], abs=1e-9)
    assert any(not np.array_equal(a, b) for a, b in zip(W, found.parameters, strict=True))
    # the first removal is after two steps: before, kernel switch and sham are near each other
    assert abs(run.excess[0]) < 0.02


def test_the_distance_is_certified_where_the_data_reaches(found):
    worst = 0.0
    for path, certificate in found.certificates.items():
        kernel, _ = found.rules[path]
        assert certificate.level == "rigorous"
        assert jb.verify(certificate)
        z = np.linspace(-certificate.reach, certificate.reach, 20_001)
        values = sum(
            c * np.maximum(a * z + b, 0)
            for c, a, b in zip(
                kernel.weights[:, 0], kernel.directions[:, 0], kernel.offsets, strict=True
            )
        )
        with jax.enable_x64(True):
            wanted = np.asarray(jb.activation(certificate.source)(jnp.asarray(z)))
        seen = np.abs(values - wanted).max()
        assert 0.5 * certificate.upper < seen <= certificate.upper
        worst = max(worst, certificate.upper)
    assert found.stages[-1].certified == worst
    assert found.stages[-1].level == "rigorous"
    assert "|z| <=" in found.stages[-1].holds_on


def test_flax_and_a_target_whose_directions_are_trained():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(3, 4, rngs=rngs)

        def __call__(self, x):
            return nnx.gelu(self.linear(x))

    graph, state = nnx.split(Net(nnx.Rngs(0)))

    def apply(state, x):
        return nnx.merge(graph, state)(x)

    found = jb.remove_knots(
        apply, state, {"gelu": "leaky_relu"}, X, Y, to=3, particles=10, reach=8.0,
        options=jb.ReportOptions(finetune_steps=8, evaluations=4, recorded=40),
    )  # fmt: skip
    ((kernel, target),) = found.rules.values()
    assert target.name.startswith("leaky_relu")
    assert kernel.particles == 3 < found.stages[0].particles
    new = jb.switch(lambda x: nnx.merge(graph, found.parameters)(x), found.rules)
    assert np.isfinite(new(jnp.asarray(X))).all()


def test_nothing_to_remove_and_bad_input():
    few = jb.ReportOptions(finetune_steps=4, evaluations=4, finetune_batch=16)
    with pytest.raises(UsageError, match="from 1 to 9"):
        jb.remove_knots(net, W, RULES, X, Y, to=10, particles=9, options=few)
    with pytest.raises(UsageError, match="finetune_steps=0"):
        jb.remove_knots(net, W, RULES, X, Y, options=jb.ReportOptions(finetune_steps=0))
    with pytest.raises(UsageError, match="pruned_to=-1"):
        jb.ReportOptions(pruned_to=-1)
    with pytest.raises(UsageError, match="metric='f1'"):
        jb.remove_knots(net, W, RULES, X, Y, metric="f1")


def test_the_example_runs(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    import knots_removed

    found = knots_removed.main(steps=20)
    out = capsys.readouterr().out
    assert out.count("(rigorous)") == len(found.stages)
    assert found.stages[-1].particles == 2
