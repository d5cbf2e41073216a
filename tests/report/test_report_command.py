"""``jaxbarron switch --report``: files, the terminal, and bad input."""

import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxbarron.cli import main
from jaxbarron.switching.validate import LatencyRatio

NETS = """
import jax, jax.numpy as jnp, numpy as np, optax
W = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
def logits(w, x): return jax.nn.gelu(x @ w)
def good(): return logits, W
def nan_loss(outputs, labels): return jnp.mean(outputs) * jnp.nan
def margin(outputs, labels): return -jnp.mean(outputs[jnp.arange(len(labels)), labels])
def sgd(): return optax.sgd(1e-3)
def no_optimiser(): return 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("report_nets.py").write_text(NETS)
    draw = np.random.default_rng(1)
    x, y = draw.normal(size=(24, 3)).astype(np.float32), draw.integers(0, 4, 24)
    np.savez("val.npz", inputs=x, labels=y)
    np.savez("train.npz", inputs=x + 1, labels=y)
    np.savez("wide.npz", inputs=np.ones((24, 5), np.float32), labels=y)

    def one_pair(before, after, *args, pairs=1, progress=None):
        jax.block_until_ready((before(*args), after(*args)))
        return LatencyRatio(1.0, 1.0, 1.0, 1e-3, 1e-3, 1)

    monkeypatch.setattr("jaxbarron.cli.switch.paired_latency", one_pair)
    monkeypatch.setattr("jaxbarron.report.worth.paired_latency", one_pair)
    yield tmp_path
    sys.modules.pop("report_nets", None)


@pytest.fixture
def run(here, monkeypatch, capsys):
    def run(*arguments):
        base = ("switch", "--model", "report_nets:good", "--data", "val.npz", "--from", "gelu",
                "--to", "relu")  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["jaxbarron", *base, *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return run


def test_the_report_is_written_and_printed(run, here):
    status, out, err = run(
        "--report", "deep/report", "--finetune-steps", 20, "--train", "train.npz", "--loss",
        "report_nets:margin", "--optimiser", "report_nets:sgd", "--radius", 0.02, "--seed", 3,
        "--max-steps", 50,
    )  # fmt: skip
    assert (status, err) == (0, "")
    for text in ("1. Does it keep", "2. What does fine-tuning cost?", "3. Is it worth it?",
                 "at most 50 steps", "deep/report/report.html"):  # fmt: skip
        assert text in out
    page = (here / "deep/report/report.html").read_text()
    assert "Switch report: gelu_tanh to relu" in page
    document = json.loads((here / "deep/report/report.json").read_text())
    assert (document["schema"], document["version"]) == ("jaxbarron-switch-report", 1)
    assert document["seed"] == 3
    assert document["kept"]["radius"] == 0.02
    assert document["training"]["loss"] == "own loss"
    assert document["training"]["examples"] == 24
    assert document["thresholds"]["max_steps"] == 50
    assert document["verdict"] == document["candidates"][0]["verdict"]
    assert sorted(p.name for p in (here / "deep/report").iterdir()) == [
        "report.html", "report.json",
    ]  # fmt: skip


def test_a_tolerance_of_the_outputs_is_kept_and_says_its_level(run, here):
    status, out, err = run("--output-tol", 0.05, "--json", "s.json", "--save", "certificates")
    assert (status, err) == (0, "")
    document = json.loads((here / "s.json").read_text())
    (target,) = document["targets"]
    assert document["output_tol"] == 0.05
    assert target["outputs"].startswith("sampled: no output changes by more than 0.0")
    assert target["outputs"] in " ".join(out.split())
    assert target["validation"]["largest_change"] <= 0.05
    few = target["sites"][0]["kernel"]["particles"]
    status, out, err = run("--output-tol", 0.005, "--radius", 0.1, "--report", "r",
                           "--finetune-steps", 4, "--prune-to", 0)  # fmt: skip
    assert (status, err) == (0, "")
    assert "outputs: rigorous: no output changes by more than 0.00" in out
    assert "for every input within 0.1 of example" in out
    report = json.loads((here / "r/report.json").read_text())
    assert report["asked"] == "output tolerance 0.005"
    assert report["path"] is None
    assert report["candidates"][0]["particles"] > few
    assert report["kept"]["certified"][0]["level"] == "rigorous"


def test_what_fails_is_said_once_and_the_rest_is_kept(run, here):
    status, out, err = run("--report", "r", "--finetune-steps", 8, "--loss", "report_nets:nan_loss")
    assert status == 2
    (line,) = err.splitlines()
    assert line.startswith("jaxbarron: error: fine-tuning, the sham switch: given: fine-tuning of")
    assert "safe as it is" in out
    document = json.loads((here / "r/report.json").read_text())
    assert document["training"] is None
    assert [f["part"] for f in document["failures"]] == ["fine-tuning, the sham switch"]
    assert document["candidates"][0]["worth"]["latency"]["pairs"] == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--finetune-steps", 3), "--finetune-steps without --report"),
        (("--train", "train.npz"), "--train without --report"),
        (("--seed", 3), "--seed without --demo or --report"),
        (("--report", "val.npz"), "--report val.npz, but val.npz is no folder"),
        (("--report", "r", "--finetune-steps", -1), "finetune_steps=-1"),
        (("--report", "r", "--radius", 0), "--radius 0.0"),
        (("--report", "r", "--max-steps", -1), "--max-steps -1"),
        (("--report", "r", "--prune-to", -1), "pruned_to=-1"),
        (("--prune-to", 2), "--prune-to without --report"),
        (("--tol", 1e-3, "--output-tol", 1e-2), "--tol 0.001 and --output-tol 0.01"),
        (("--particles", 3, "--output-tol", 1e-2), "--particles 3 and --output-tol 0.01"),
        (("--output-tol", -1), "output_tol=-1"),
        (("--output-tol", 0.1, "--radius", -1), "--radius -1"),
        (("--radius", 0.1), "--radius without --report or --output-tol"),
        (("--report", "r", "--loss", "report_nets:nothing"), "report_nets has no nothing"),
        (("--report", "r", "--optimiser", "report_nets:no_optimiser"), "returns a int"),
        (("--report", "r", "--train", "none.npz"), "none.npz"),
    ],
)
def test_bad_options_leave_nothing(run, here, arguments, text):
    before = sorted(here.iterdir())
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert text in line
    assert sorted(p for p in here.iterdir() if p.name != "__pycache__") == before


def test_training_data_that_does_not_fit_is_a_part_that_fails(run, here):
    status, _, err = run("--report", "r", "--finetune-steps", 8, "--train", "wide.npz")
    assert status == 2
    assert "training inputs (24, 5)" in err
    assert (here / "r/report.html").exists()
