"""The report on every kind of model, in three lines, and which of its arrays are trained."""

import json
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxbarron as jb
from jaxbarron.report.document import report_document
from jaxbarron.report.subject import model_of
from jaxbarron.switching.metrics import ACCURACY

EXAMPLES = Path(__file__).parents[2] / "examples"
FEW = jb.ReportOptions(
    finetune_steps=4, evaluations=4, finetune_batch=16, sizes=(), pairs=1, boxes=0,
    ascent_steps=0, recorded=64, pruned_to=0,
)  # fmt: skip
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)
Y = RNG.integers(0, 4, 40)


@pytest.mark.parametrize("name", ["flax_nnx", "flax_linen", "equinox", "haiku", "plain"])
def test_every_kind_of_model_in_three_lines(name, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
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
        ("as asked", "kernel switch"),
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
    assert sorted(trained) == [(3, 4), (4,), (4,), (4,)]
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
