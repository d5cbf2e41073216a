"""``jaxbarron switch --model``: a model, data and metric of the user's, and what may be wrong."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbarron.certificates import load
from jaxbarron.cli import main
from jaxbarron.errors import DtypeError, NonFiniteError, ShapeError, UsageError
from jaxbarron.measures import unit_kernel
from jaxbarron.switching import switch
from jaxbarron.switching.metrics import MAE, MSE, Metric
from jaxbarron.switching.validate import (
    LatencyRatio,
    compare_models,
    compare_outputs,
    judge,
    model_outputs,
)

EXAMPLES = Path(__file__).parents[2] / "examples"

NETS = Path(__file__).parent / "models" / "nets.py"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with nets.py and data, the current one; imports from it are forgotten after."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    (tmp_path / "nets.py").write_bytes(NETS.read_bytes())
    (tmp_path / "broken.py").write_text("import no_such_library_at_all")
    (tmp_path / "syntax.py").write_text("def make(:\n")
    (tmp_path / "quits.py").write_text("raise SystemExit('usage: quits')")
    draw = np.random.default_rng(1)
    x, y = draw.normal(size=(20, 3)).astype(np.float32), draw.integers(0, 4, 20)
    np.savez("val.npz", inputs=x, labels=y)
    np.savez("targets.npz", inputs=x, targets=draw.normal(size=(20, 4)))
    np.savez("no_labels.npz", inputs=x)
    np.savez("nothing.npz")
    np.savez("lengths.npz", inputs=x, labels=y[:-1])
    np.savez("empty.npz", inputs=x[:0], labels=y[:0])
    np.savez("range.npz", inputs=x, labels=y + 1)
    np.savez("negative.npz", inputs=x, labels=y - 1)
    np.savez("float_labels.npz", inputs=x, labels=y.astype(float))
    np.savez("one_hot.npz", inputs=x, labels=np.eye(4, dtype=int)[y])
    np.savez("wide.npz", inputs=np.ones((20, 5)), labels=y)
    np.savez("nan.npz", inputs=np.where(x > 1, np.nan, x), labels=y)
    np.savez("huge.npz", inputs=x.astype(float) * 1e300, labels=y)
    np.savez("long.npz", inputs=np.full((20, 3), 2**40), labels=y)
    np.savez("late.npz", inputs=np.where(np.arange(20)[:, None] < 19, x, 200), labels=y)
    np.savez("text.npz", inputs=x.astype(str), labels=y)
    np.savez("scalar.npz", inputs=1.0, labels=y)
    np.savez("objects.npz", inputs=np.array([{}] * 20), labels=y)
    np.savez("nan_targets.npz", inputs=x, targets=np.full((20, 4), np.nan))
    np.savez("flat_targets.npz", inputs=x, targets=np.ones(20))
    np.savez("tokens.npz", inputs=draw.normal(size=(20, 5, 3)), labels=draw.integers(0, 4, (20, 5)))
    np.save("array.npy", x)
    Path("words.npz").write_text("inputs and labels")
    Path("cut.npz").write_bytes(Path("val.npz").read_bytes()[:-200])
    Path("flipped.npz").write_bytes(Path("val.npz").read_bytes().replace(x.tobytes(), bytes(240)))
    os.mkfifo("pipe.npz")
    yield tmp_path
    for name in set(sys.modules) - known:
        if name in ("nets", "broken", "syntax", "quits"):
            del sys.modules[name]


@pytest.fixture
def run(monkeypatch, capsys):
    """Run ``jaxbarron switch`` as a process would: (exit status, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["jaxbarron", "switch", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return run


@pytest.fixture
def quick(monkeypatch):
    """The clock measures one pair: for tests that are not about latency."""

    def one_pair(before, after, *args, progress=None):
        jax.block_until_ready((before(*args), after(*args)))
        return LatencyRatio(1.0, 1.0, 1.0, 1e-3, 1e-3, 1)

    monkeypatch.setattr("jaxbarron.cli.switch.paired_latency", one_pair)


def report(run, *arguments):
    status, out, err = run(*arguments, "--json", "-")
    assert status == 0, err
    return json.loads(out)


# ------------------------------------------------------------------ the examples


@pytest.mark.parametrize("name", ["flax_nnx", "flax_linen", "equinox", "haiku", "plain"])
def test_every_example_switches(run, name, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import own_model

    inputs, labels = own_model.spirals(400, seed=1)
    np.savez(tmp_path / "val.npz", inputs=inputs, labels=labels)
    status, out, err = run(
        "--model", f"own_model:{name}", "--data", tmp_path / "val.npz", "--from", "gelu",
        "--to", "relu", "--json", tmp_path / "r.json", "--save", tmp_path / "saved",
    )  # fmt: skip
    assert (status, err) == (0, "")
    for words in (f"own_model:{name}", "1 activation site found", "rigorous", "all of R",
                  "predictions changed", "alternating pairs", "verdict: ", "rule: "):  # fmt: skip
        assert words in out
    document = json.loads((tmp_path / "r.json").read_text())
    (target,) = document["targets"]
    seen = target["validation"]
    assert seen["before"] > 0.9
    assert abs(seen["after"] - seen["before"]) < 0.01
    # the example's function by itself: nothing but gelu changed, by at most the certificate
    fn, parameters = getattr(own_model, name)()
    expected = np.mean(np.argmax(fn(parameters, jnp.asarray(inputs)), -1) == labels)
    assert seen["before"] == pytest.approx(expected)
    assert load(tmp_path / "saved" / "gelu_tanh-to-relu.json").upper <= 1e-3


def test_the_example_writes_its_data(tmp_path, monkeypatch):
    import runpy

    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "own_model.py"), run_name="__main__")
    with np.load("val.npz") as data:
        assert data["inputs"].shape == (400, 2)


# ------------------------------------------------------------------ what is reported


@pytest.mark.usefixtures("here", "quick")
def test_figures_are_those_of_the_two_functions(run):
    document = report(
        run, "--model", "nets:good", "--data", "val.npz", "--from", "gelu", "--to", "relu,repu2",
        "--batch-size", 8, "--tol", "1e-2",
    )  # fmt: skip
    assert document["batch_size"] == 8
    assert document["sources"] == ["gelu"]
    assert [t["target"] for t in document["targets"]] == ["relu", "repu(2)"]
    import nets

    with np.load("val.npz") as data:
        x, y = data["inputs"], data["labels"]
    before = np.asarray(nets.logits(nets.W, x))
    for target in document["targets"]:
        seen = target["validation"]
        assert target["sites"][0]["kernel"]["upper"] <= 1e-2
        assert 0 < seen["largest_change"] <= 1.001e-2
        assert seen["examples"] == 20
        assert seen["before"] == seen["accuracy_before"] == np.mean(before.argmax(1) == y)
        assert seen["largest_output"] == pytest.approx(np.abs(before).max(), rel=1e-6)
        assert target["latency"]["batch"] == 8


@pytest.mark.usefixtures("here", "quick")
@pytest.mark.parametrize(("metric", "by_hand"), [("mse", np.square), ("mae", np.abs)])
def test_errors_go_down(run, metric, by_hand):
    document = report(
        run, "--model", "nets:regression", "--data", "targets.npz", "--metric", metric,
        "--from", "silu", "--to", "relu",
    )  # fmt: skip
    seen = document["targets"][0]["validation"]
    import nets

    with np.load("targets.npz") as data:
        outputs = np.asarray(jax.nn.silu(data["inputs"] @ nets.W), np.float64)
        expected = np.mean(by_hand(outputs - data["targets"]))
    assert seen["before"] == pytest.approx(expected, rel=1e-6)
    assert (seen["better"], seen["predictions_changed"]) == ("lower", None)
    assert f"{metric} worse by <= 1 % of its value" in document["targets"][0]["verdict"]["rule"]


@pytest.mark.usefixtures("here", "quick")
def test_a_metric_of_your_own_with_its_direction(run):
    arguments = ("--model", "nets:good", "--data", "val.npz", "--from", "gelu", "--to", "relu",
                 "--metric")  # fmt: skip
    down = (*arguments, "nets:rms", "--metric-direction", "lower")
    seen = report(run, *down)["targets"][0]["validation"]
    assert (seen["metric"], seen["better"]) == ("nets:rms", "lower")
    assert seen["predictions_changed"] is not None
    assert report(run, *arguments, "nets:jax_metric", "--metric-direction", "higher")
    # what a metric writes into its arguments does not reach the report
    seen = report(run, *arguments, "nets:destroys", "--metric-direction", "higher")
    assert seen["targets"][0]["validation"]["largest_output"] > 0
    status, out, _ = run(*down, "--particles", 4, "--max-loss", 0)
    assert status == 0
    assert "nets:rms worse by <= 0" in out


@pytest.mark.usefixtures("here", "quick")
@pytest.mark.parametrize(
    "factory",
    ["steered", "whole_equinox", "Holder.make", "nnx_eval", "unused_key"],
)
def test_forms_that_a_model_may_have(run, factory):
    document = report(
        run, "--model", f"nets:{factory}", "--data", "val.npz", "--from", "gelu", "--to", "relu"
    )
    assert len(document["sites"]) == 1


@pytest.mark.usefixtures("here", "quick")
def test_labels_at_each_position(run):
    seen = report(
        run, "--model", "nets:per_token", "--data", "tokens.npz", "--from", "gelu", "--to", "relu"
    )["targets"][0]["validation"]
    assert seen["examples"] == 100


@pytest.mark.usefixtures("here", "quick")
def test_a_model_of_one_batch_size_only(run):
    arguments = "--model", "nets:fixed_batch", "--data", "val.npz", "--from", "gelu", "--to", "relu"
    assert report(run, *arguments, "--batch-size", 8)["batch_size"] == 8
    status, _, err = run(*arguments)
    assert status == 2
    assert "(20, 3)" in err


@pytest.mark.usefixtures("here", "quick")
def test_several_sources_and_what_is_left(run):
    arguments = "--model", "nets:two_kinds", "--data", "val.npz", "--to", "relu"
    document = report(run, *arguments, "--from", "gelu,tanh")
    assert len(document["targets"][0]["sites"]) == 2
    document = report(run, *arguments, "--from", "tanh")
    assert [s["activation"] for s in document["sites"]] == ["gelu_tanh", "tanh"]
    assert [s["activation"] for s in document["targets"][0]["sites"]] == ["tanh"]


@pytest.mark.usefixtures("here", "quick")
def test_what_the_model_prints_is_not_in_the_report(run):
    arguments = "--model", "nets:chatty", "--data", "val.npz", "--from", "gelu", "--to", "relu"
    status, out, err = run(*arguments, "--json", "-")
    assert status == 0
    json.loads(out)
    assert "made" in err
    assert "called" in err


# ------------------------------------------------------------------ bad input

BASE = {"--model": "nets:good", "--data": "val.npz", "--from": "gelu", "--to": "relu"}
BAD = [
    # options
    ({"--data": None}, "--data val.npz"),
    ({"--demo": "digits"}, "--demo and --model"),
    ({"--seed": 1}, "--seed"),
    ({"--batch-size": 0}, "--batch-size 0"),
    ({"--max-loss": "nan"}, "--max-loss nan"),
    ({"--max-loss": -1}, "--max-loss -1"),
    ({"--to": None}, "--to NAME"),
    ({"--from": None}, "the model has: gelu_tanh"),
    ({"--from": "gello"}, "gello"),
    ({"--from": "silu"}, "gelu_tanh"),
    ({"--tol": 1, "--particles": 3}, "one of them"),
    ({"--save": "nets.py"}, "nets.py is no folder"),
    ({"--save": "nets.py/deeper"}, "nets.py is no folder"),
    ({"--json": "missing/r.json"}, "folder that exists"),
    # modules
    ({"--model": "nets"}, "package.module:name"),
    ({"--model": "nets.py:good"}, "package.module:name"),
    ({"--model": "nets:good()"}, "package.module:name"),
    ({"--model": "nothere:good"}, "no module nothere"),
    ({"--model": "nets.deeper:good"}, "no module nets.deeper"),
    ({"--model": "nets:bad"}, "nets has no bad"),
    ({"--model": "nets:number"}, "which is a int"),
    ({"--model": "broken:make"}, "no_such_library_at_all"),
    ({"--model": "syntax:make"}, "SyntaxError"),
    ({"--model": "quits:make"}, "SystemExit: usage: quits"),
    # factories
    ({"--model": "nets:fails"}, "KeyError: 'no checkpoint"),
    ({"--model": "nets:exits"}, "SystemExit: 3"),
    ({"--model": "nets:needs"}, "missing 1 required positional argument: 'path'"),
    ({"--model": "nets:single"}, "returns function; expected: (callable, parameters)"),
    ({"--model": "nets:swapped"}, "returns (ndarray, function)"),
    ({"--model": "nets:triple"}, "returns (function, ndarray, NoneType)"),
    # what the model does
    ({"--model": "nets:nan"}, "NaN or infinity for 20 of 20"),
    ({"--model": "nets:late_nan", "--data": "late.npz", "--batch-size": 8}, "for 1 of 20"),
    ({"--model": "nets:pair_out"}, "(20, 4), (20, 3)"),
    ({"--model": "nets:dict_out"}, "outputs dict"),
    ({"--model": "nets:no_rows"}, "a row for each input"),
    ({"--model": "nets:one_example"}, "jax.vmap"),
    ({"--model": "nets:complex_out"}, "complex64"),
    ({"--model": "nets:no_activation"}, "gelu"),
    ({"--model": "nets:to_numpy"}, "JAX cannot trace"),
    ({"--model": "nets:nnx_dropout"}, "model.eval()"),
    ({"--model": "nets:nnx_closure"}, "model.eval()"),
    ({"--model": "nets:batch_norm"}, "batch norm in inference mode"),
    ({"--model": "nets:linen_dropout"}, "deterministic=True"),
    ({"--model": "nets:in_a_loop"}, "random numbers"),
    ({"--model": "nets:numpy_noise"}, "between two calls"),
    # data
    ({"--data": "none.npz"}, "none.npz, which is no file"),
    ({"--data": "."}, "no file"),
    ({"--data": "pipe.npz"}, "no file"),
    ({"--data": "array.npy"}, "np.savez"),
    ({"--data": "words.npz"}, "no npz file"),
    ({"--data": "cut.npz"}, "no npz file"),
    ({"--data": "flipped.npz"}, "no npz file"),
    ({"--data": "objects.npz"}, "no npz file of plain numbers"),
    ({"--data": "nothing.npz"}, "with no array"),
    ({"--data": "no_labels.npz"}, "expected: inputs and labels"),
    ({"--data": "targets.npz"}, "with inputs, targets; expected: inputs and labels"),
    ({"--data": "lengths.npz"}, "20 inputs and 19 labels"),
    ({"--data": "empty.npz"}, "0 inputs"),
    ({"--data": "range.npz"}, "labels from 1 to 4 for 4 logits"),
    ({"--data": "negative.npz"}, "labels from -1 to 2"),
    ({"--data": "float_labels.npz"}, "labels of dtype float64"),
    ({"--data": "one_hot.npz"}, "labels.argmax(-1)"),
    ({"--data": "wide.npz"}, "inputs of shape (20, 5)"),
    ({"--data": "nan.npz"}, "NaN or infinity in"),
    ({"--data": "huge.npz"}, "float32 holds"),
    ({"--data": "long.npz"}, "int32 holds"),
    ({"--data": "text.npz"}, "dtype <U"),
    ({"--data": "scalar.npz"}, "shape ()"),
    ({"--data": "val.npz", "--metric": "mse"}, "expected: inputs and targets"),
    ({"--data": "nan_targets.npz", "--metric": "mse"}, "targets with NaN"),
    ({"--data": "flat_targets.npz", "--metric": "mae"}, "targets of shape (20,)"),
    # metrics
    ({"--metric": "f1"}, "accuracy, mse, mae"),
    ({"--metric": "accuracy", "--metric-direction": "higher"}, "higher is better"),
    ({"--metric": "nets:rms"}, "no --metric-direction"),
    ({"--metric": "nets:rms", "--metric-direction": "up"}, "--metric-direction up"),
    ({"--metric": "nets:none", "--metric-direction": "lower"}, "nets has no none"),
    ({"--metric": "nets:nan_metric", "--metric-direction": "lower"}, "returns nan"),
    ({"--metric": "nets:none_metric", "--metric-direction": "lower"}, "returns None"),
    ({"--metric": "nets:text_metric", "--metric-direction": "lower"}, "returns '0.9'"),
    ({"--metric": "nets:vector_metric", "--metric-direction": "lower"}, "shape (4,)"),
    ({"--metric": "nets:failing_metric", "--metric-direction": "lower"}, "no reference"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "says"), BAD, ids=lambda x: "-".join(map(str, x.values()))
                         if isinstance(x, dict) else "")  # fmt: skip
def test_bad_input_is_one_message_and_nothing_is_written(run, here, changes, says):
    options = {**BASE, "--save": "saved", "--json": "report.json", **changes}
    before = sorted(here.iterdir())
    status, out, err = run(*(x for pair in options.items() if pair[1] is not None for x in pair))
    assert status == 2
    assert out == ""
    assert says in err
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("jaxbarron: error: given: ")
    assert "; expected: " in err
    assert "; do: " in err
    assert [p for p in sorted(here.iterdir()) if p.name != "__pycache__"] == before


@pytest.mark.parametrize("option", ["--data", "--metric", "--metric-direction", "--batch-size"])
def test_the_demo_takes_no_option_of_an_own_model(run, option):
    status, _, err = run("--demo", "digits", "--to", "relu", option, "1")
    assert status == 2
    assert f"{option} without --model" in err


# ------------------------------------------------------------------ the parts, from Python


def test_batches_give_the_same_outputs_and_one_shape():
    x, shapes = np.random.default_rng(0).normal(size=(10, 3)), []

    def fn(rows):
        shapes.append(rows.shape)
        return np.sin(rows)

    for size in (1, 3, 4, 10, 99):
        np.testing.assert_array_equal(model_outputs(fn, x, size), np.sin(x))
    assert set(shapes) == {(1, 3), (3, 3), (4, 3), (10, 3)}
    with pytest.raises(UsageError):
        model_outputs(fn, x, 0)
    with pytest.raises(ShapeError):
        model_outputs(fn, x[:0])
    with pytest.raises(ShapeError):
        model_outputs(lambda x: x.sum(0), x)
    with pytest.raises(DtypeError):
        model_outputs(lambda x: x * 1j, x)
    with pytest.raises(NonFiniteError, match="number 4"):
        model_outputs(lambda x: np.where(x == x[4:5, :1], np.inf, 0), x)


def test_a_change_that_hides_in_the_last_batch_is_seen():
    x = np.arange(10.0)[:, None]
    switched = switch(lambda x: jax.nn.gelu(x - 9), {"gelu": (unit_kernel(), "relu")})
    seen = compare_models(lambda x: jax.nn.gelu(x - 9), switched, x, x, MSE, batch_size=4)
    assert seen.largest_change == pytest.approx(float(jnp.abs(jax.nn.gelu(-1.0))), rel=1e-5)


@pytest.mark.parametrize(
    ("metric", "after", "max_loss", "outcome"),
    [
        (MAE, 1.005, None, "switch"),
        (MAE, 1.02, None, "fine-tune"),
        (MAE, 0.5, None, "switch"),
        (MAE, 1.02, 0.03, "switch"),
        (MAE, 1.005, 0.0, "fine-tune"),
        (Metric("score", np.mean, higher_is_better=True), 0.98, None, "fine-tune"),
        (Metric("score", np.mean, higher_is_better=True), 2.0, None, "switch"),
    ],
)
def test_the_verdict_knows_which_way_is_better(metric, after, max_loss, outcome):
    seen = compare_outputs(np.ones((4, 1)), np.ones((4, 1)), np.zeros((4, 1)), MAE)
    assert (seen.before, seen.after, seen.lost, seen.changed) == (1, 1, 0, None)
    moved = type(seen)(4, 1.0, after, 0.1, 1.0, None, metric)
    even = LatencyRatio(1.0, 1.0, 1.0, 1e-3, 1e-3, 9)
    verdict = judge(moved, even, [1e-4], ["rigorous"], 1e-3, max_loss)
    assert verdict.outcome == outcome
    assert metric.name in verdict.text
    assert metric.name in verdict.rule
