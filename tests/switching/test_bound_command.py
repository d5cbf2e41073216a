"""``jaxbarron bound``: the user's own model, bounded around an example."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxbarron.cli import main

MODEL = """
import jax, jax.numpy as jnp, numpy as np
def make():
    draw = np.random.default_rng(0)
    params = [jnp.asarray(draw.normal(size=s), jnp.float32) / 2 for s in ((3, 8), (8, 4))]
    return (lambda p, x: jax.nn.gelu(x @ p[0]) @ p[1]), params
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "bounded_model.py").write_text(MODEL)
    draw = np.random.default_rng(1)
    np.savez("val.npz", inputs=draw.normal(size=(6, 3)).astype(np.float32), labels=np.arange(6) % 4)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    common = [
        "--model",
        "bounded_model:make",
        "--data",
        "val.npz",
        "--from",
        "gelu",
        "--to",
        "relu",
    ]
    own = [] if arguments[0] == "verify" else common
    monkeypatch.setattr(sys, "argv", ["jaxbarron", arguments[0], *own, *arguments[1:]])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_bounded_saved_and_verified(here, monkeypatch, capsys):
    options = ["--radius", "0.05", "--output-tol", "0.02", "--norm", "2"]
    files = ["--save", "bound.json", "--json", "figures.json"]
    assert run(monkeypatch, "bound", *options, *files) == 0
    shown = capsys.readouterr().out
    assert "rigorous: On an l2 ball" in shown
    figures = json.loads((here / "figures.json").read_text())
    assert 0 < figures["seen"] <= figures["upper"] <= 0.02 * (1 + 1e-6)
    assert figures["delta"] <= 2 * figures["upper"]
    assert len(figures["sites"]) == 1
    assert run(monkeypatch, "verify", "bound.json") == 0
    assert "holds" in capsys.readouterr().out


def test_all_neurons_together(here, monkeypatch, capsys):
    found = []
    for steps in ("0", "30"):
        options = ["--radius", "0.1", "--particles", "9", "--joint", steps]
        assert run(monkeypatch, "bound", *options, "--save", "b.json", "--json", "f.json") == 0
        found.append(json.loads((here / "f.json").read_text()))
        assert found[-1]["seen"] <= found[-1]["upper"]
        assert run(monkeypatch, "verify", "b.json") == 0
    assert found[1]["upper"] < found[0]["upper"]
    assert "Joint parabolas" in found[1]["theorem"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--radius", "-1"], "--radius"),
        (["--radius", "1", "--norm", "3"], "--norm 3"),
        (["--radius", "1", "--tol", "1e-2", "--particles", "9"], "more than one"),
        (["--radius", "1", "--tol", "1e-2", "--example", "6"], "--example 6"),
        (["--radius", "1", "--tol", "1e-2", "--joint", "-2"], "joint=-2"),
    ],
)
def test_one_message(here, monkeypatch, capsys, options, message):
    assert run(monkeypatch, "bound", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_parts_are_saved_and_verified(here, monkeypatch, capsys):
    options = ["--radius", "0.5", "--particles", "8", "--joint", "9"]
    figures: list[dict] = []
    for more in ([], ["--branches", "6", "--save", "bound.json"]):
        assert run(monkeypatch, "bound", *options, *more, "--json", "figures.json") == 0
        figures.append(json.loads((here / "figures.json").read_text()))
    assert [x["branches"] for x in figures] == [1, 6]
    assert figures[1]["upper"] < figures[0]["upper"]  # one layer: nothing but errors to lose
    assert figures[1]["seen"] <= figures[1]["upper"]
    assert "proved on 6 parts" in capsys.readouterr().out
    assert run(monkeypatch, "verify", "bound.json") == 0
    assert run(monkeypatch, "bound", *options, "--branches", "0") == 2
    assert "branches=0" in capsys.readouterr().err
