"""The command line: exit statuses, messages, files written whole, JSON that is only JSON."""

import json
import sys

import numpy as np
import pytest

from jaxbarron.atlas import best_approximations
from jaxbarron.balls.notation import rounded_up
from jaxbarron.certificates import load, verify
from jaxbarron.cli import main
from jaxbarron.export import load_measure


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line as a process would: (exit status, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["jaxbarron", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return run


def test_help_of_every_command_has_examples(run):
    for command in ((), ("switch",), ("kernel",), ("verify",), ("activations",),
                    ("constant",), ("bracket",), ("atlas",)):  # fmt: skip
        status, out, _ = run(*command, "--help")
        assert status == 0
        assert out.count("  jaxbarron ") >= 2, command


def test_version(run):
    status, out, _ = run("--version")
    assert status == 0
    assert out.startswith("jaxbarron ")


def test_kernel_prints_each_particle_exactly(run):
    status, out, _ = run("kernel", "gelu", "relu", "--tol", "1e-2", "--json", "-")
    assert status == 0
    document = json.loads(out)
    assert document["schema"] == "jaxbarron-kernel"
    assert document["level"] == "rigorous"
    assert document["lower"] <= document["upper"] <= 1e-2
    assert document["reach"] is None
    _, table, _ = run("kernel", "gelu", "relu", "--tol", "1e-2")
    for weight, offset in zip(
        document["kernel"]["weights"], document["kernel"]["offsets"], strict=True
    ):
        assert repr(weight) in table
        assert repr(offset) in table
    assert "all of R" in table


def test_direct_distance_of_gelu_and_its_tanh_form(run):
    status, out, _ = run("kernel", "gelu", "gelu_tanh", "--direct", "--json", "-")
    assert status == 0
    assert json.loads(out)["upper"] == pytest.approx(4.732e-4, rel=1e-3)


def test_kernel_with_derivatives_by_s(run):
    status, out, _ = run(
        "kernel", "tanh", "--s", 2, "--particles", 12, "--derivatives", 1, "--json", "-"
    )
    assert status == 0
    document = json.loads(out)
    assert document["target"] == "repu(2)"
    assert [e["derivative"] for e in document["errors"]] == [0, 1]


def test_long_kernels_are_elided_unless_all_is_asked_for(run):
    arguments = "kernel", "tanh", "relu", "--particles", 50
    _, short, _ = run(*arguments)
    _, whole, _ = run(*arguments, "--all")
    assert "not shown" in short
    assert "not shown" not in whole
    assert len(short.splitlines()) < len(whole.splitlines())


def test_saved_certificate_verifies_and_a_changed_number_fails(run, tmp_path):
    file = tmp_path / "tanh.json"
    assert run("kernel", "tanh", "relu", "--tol", "1e-2", "--save", file)[0] == 0
    status, out, _ = run("verify", file)
    assert status == 0
    assert "holds" in out
    text = file.read_text()
    number = json.loads(text)["kernel"]["weights"][0]
    changed = (float.fromhex(number) * 1.5).hex()
    file.write_text(text.replace(number, changed, 1))
    status, out, _ = run("verify", file)
    assert status == 1
    assert "FAILS" in out
    assert "digest" in out


def test_verify_tells_a_false_claim_from_what_is_no_certificate(run, tmp_path):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    run("kernel", "tanh", "relu", "--tol", "1e-2", "--save", good)
    bad.write_bytes(good.read_bytes()[:-40])
    status, out, err = run("verify", good, bad, tmp_path / "none.json", tmp_path)
    assert status == 2
    assert out.count("holds") == 1
    assert len(err.splitlines()) == 3
    status, out, _ = run("verify", good, bad, "--json", "-")
    assert status == 2
    assert [r["holds"] for r in json.loads(out)["results"]] == [True, None]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("kernel", "gelu", "relo", "--tol", "1e-3"), "relu"),
        (("kernel", "gelu", "relu", "--tol", "-1"), "tol=-1"),
        (("kernel", "gelu", "relu", "--tol", "nan"), "tol=nan"),
        (("kernel", "gelu", "relu", "--tol", "inf"), "tol=inf"),
        (("kernel", "gelu", "relu", "--tol", "1e-300"), "tol"),
        (("kernel", "gelu", "relu", "--tol", "wide"), "--tol"),
        (("kernel", "gelu", "relu"), "tol"),
        (("kernel", "gelu", "relu", "--tol", "1e-3", "--particles", "9"), "particles"),
        (("kernel", "gelu", "relu", "--particles", "0"), "particles=0"),
        (("kernel", "gelu", "relu", "--tol", "1e-3", "--reach", "-2"), "reach"),
        (("kernel", "gelu"), "--s"),
        (("kernel", "gelu", "tanh", "--s", "2", "--tol", "1e-2"), "--s 2"),
        (("kernel", "gelu", "--s", "-1", "--tol", "1e-2"), "repu(-1)"),
        (("kernel", "gelu", "heaviside", "--tol", "1e-2"), "heaviside"),
        (("kernel", "gelu", "relu", "--tol", "1e-2", "--plot", "x.gif"), ".svg"),
        (("kernel", "gelu", "relu", "--tol", "1e-2", "--save", "no/such/x.json"), "folder"),
        (("switch",), "--demo digits"),
        (("switch", "--demo", "faces", "--to", "relu"), "faces"),
        (("switch", "--demo", "digits"), "--to"),
        (("switch", "--demo", "digits", "--to", "gello"), "gello"),
        (("switch", "--demo", "digits", "--to", "relu", "--tol", "0"), "tol=0"),
        (("switch", "--demo", "digits", "--to", "relu,heaviside"), "heaviside"),
        (("switch", "--demo", "digits", "--to", "relu", "--tol", "1", "--particles", "9"), "one"),
        (("switch", "--demo", "digits", "--to", "relu", "--seed", "-1"), "--seed -1"),
        (("switch", "--demo", "digits", "--to", "relu", "--save", __file__), "no folder"),
        (("switch", "--demo", "digits", "--to", "relu", "--save", f"{__file__}/x"), "no folder"),
        (("switch", "--demo", "digits", "--to", "relu", "--json", "/"), "a file name"),
        (("kernel", "gelu", "relu", "--particles", "100000"), "at most 1024"),
        (("kernel", "gelu", "relu", "--particles", "3.5"), "--particles"),
        (("kernel", "tanh", "--s", "2", "--tol", "1e-2", "--derivatives", "2"), "s - 1"),
        (("kernel", "tanh", "--s", "2", "--tol", "1e-2", "--derivatives", "-1"), "from 0"),
        (("kernel", "sin", "relu", "--tol", "1e-2"), "reach"),
        (("kernel", "heaviside", "relu", "--tol", "1e-2"), "jumps"),
        (("kernel", "gelu", "relu", "--tol", "1e-9"), "knots"),
        (("kernel", "leaky_relu(nan)", "relu", "--tol", "1e-2"), "finite slope"),
        (("verify", "/"), "Is a directory"),
        (("verify",), "verify"),
        (("frobnicate",), "frobnicate"),
    ],
)
def test_bad_input_is_one_message_and_status_2(run, arguments, says):
    status, out, err = run(*arguments)
    assert status == 2
    assert out == ""
    assert says in err
    assert "Traceback" not in err


def test_a_folder_that_may_not_be_written_is_said_before_the_work(run, monkeypatch, tmp_path):
    monkeypatch.setattr("os.access", lambda *_: False)
    for option in ("--json", "--save"):
        place = tmp_path / "new"
        status, out, err = run("switch", "--demo", "digits", "--to", "relu", option, place)
        assert (status, out) == (2, "")
        assert "may not be written to" in err
        assert str(tmp_path) in err


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_what_is_stopped_while_it_writes_leaves_nothing(run, monkeypatch, tmp_path, stop):
    """Ctrl-C, or a full disk: no half file, no temporary one, and the old file still whole."""
    file = tmp_path / "gelu.json"
    file.write_text("old")

    def interrupted(_):
        raise stop

    monkeypatch.setattr("os.fsync", interrupted)
    status, out, err = run("kernel", "gelu", "relu", "--tol", "1e-2", "--save", file)
    assert status != 0
    assert "Traceback" not in out + err
    assert [x.name for x in tmp_path.iterdir()] == ["gelu.json"]
    assert file.read_text() == "old"
    if isinstance(stop, OSError):
        assert f"the file {file}: No space left" in err
        assert status == 2


def test_missing_scikit_learn_is_said_with_the_command_that_installs_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    status, _, err = run("switch", "--demo", "digits", "--to", "relu")
    assert status == 2
    assert "pip install" in err


def test_missing_matplotlib_is_said_before_the_work(run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    arguments = "kernel", "gelu", "relu", "--tol", "1e-2", "--plot", tmp_path / "k.svg"
    status, _, err = run(*arguments)
    assert status == 2
    assert "[plot]" in err
    assert list(tmp_path.iterdir()) == []


def test_switch_to_several_targets_saves_what_verifies(run, tmp_path):
    saved, report = tmp_path / "saved", tmp_path / "report.json"
    status, out, err = run(
        "switch", "--demo", "digits", "--to", "relu,repu2", "--to", "repu3",
        "--json", report, "--save", saved,
    )  # fmt: skip
    assert status == 0
    assert err == ""
    for words in ("2 activation sites found", "all of R", "rigorous", "verdict: ", "rule: "):
        assert words in out
    document = json.loads(report.read_text())
    assert document["schema"] == "jaxbarron-switch"
    assert [t["target"] for t in document["targets"]] == ["relu", "repu(2)", "repu(3)"]
    for target in document["targets"]:
        validation = target["validation"]
        assert validation["accuracy_before"] > 0.95
        assert abs(validation["accuracy_after"] - validation["accuracy_before"]) < 0.01
        assert all(site["kernel"]["upper"] <= 1e-3 for site in target["sites"])
        assert target["latency"]["ratio"] > 0
    certificates = sorted(saved.glob("*.json"))
    assert len(certificates) == 3
    assert len(list(saved.iterdir())) == 6
    assert run("verify", *certificates)[0] == 0
    for file in certificates:
        certificate = load(file)
        assert verify(certificate)
        kernel = load_measure(file.with_suffix(".safetensors"))
        np.testing.assert_array_equal(kernel.weights, certificate.kernel.weights)
        np.testing.assert_array_equal(kernel.offsets, certificate.kernel.offsets)


def test_activations_lists_every_family(run):
    status, out, _ = run("activations", "--json", "-")
    assert status == 0
    names = {entry["name"] for entry in json.loads(out)["activations"]}
    assert {"relu", "gelu", "gelu_tanh", "silu", "tanh", "softplus"} <= names
    assert len(names) >= 24
    assert "gelu_tanh" in run("activations")[1]


# ------------------------------------------------------------------ bracket


def test_bracket_prints_and_saves_a_certificate(run, tmp_path):
    file = tmp_path / "norm.json"
    status, out, _ = run("bracket", "tanh", "repu2", "--json", "-", "--save", file)
    assert status == 0
    document = json.loads(out)
    assert document["schema"] == "jaxbarron-bracket"
    assert document["level"] == "rigorous"
    assert document["lower"] <= document["upper"] <= document["lower"] * (1 + 1e-9)
    assert round(document["upper"], 4) == 3.1769  # a linear program over 8,000 particles
    assert verify(file)
    assert run("verify", file)[0] == 0
    status, out, _ = run("bracket", "tanh", "repu2")
    assert status == 0
    assert repr(document["upper"]) in out


def test_bracket_says_why_a_norm_is_infinite(run, tmp_path):
    status, out, _ = run("bracket", "relu", "repu2")
    assert status == 0
    assert "infinite: the derivative of order 1 jumps" in out
    status, _, err = run("bracket", "relu", "repu2", "--save", tmp_path / "x.json")
    assert status == 2
    assert "jumps" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tanh", "tanh"), "expected: heaviside, relu"),
        (("tanh", "relu", "--spread", "inf"), "finite numbers"),
        (("tanh", "relu", "--weight", "l3"), "homogeneous, l2 or bias_free"),
        (("tanh", "relu", "--weight", "total_variation"), "a weight of degree s"),
        (("tanh", "repu7"), "from 0 to 4"),
    ],
)
def test_bad_input_of_bracket(run, arguments, message):
    status, out, err = run("bracket", *arguments)
    assert status == 2
    assert out == ""
    assert message in err


# ------------------------------------------------------------------ atlas and constant


def test_constant_prints_both_ends_and_the_closed_forms(run, tmp_path):
    file = tmp_path / "tanh-relu.json"
    status, out, _ = run("constant", "tanh", "relu", "--save", file)
    assert status == 0
    for part in ("C, embedding", "T_1", "A_1", "rigorous", "Theorem One reach"):
        assert part in out
    status, out, _ = run("verify", file)
    assert status == 0
    assert "holds" in out


def test_the_sharp_constant(run, tmp_path):
    file = tmp_path / "silu-relu.json"
    status, out, _ = run("constant", "silu", "relu", "--sharp", "--save", file)
    assert status == 0
    for part in ("C, sharp", "attained at w = 8.871", "gain over the Taylor kernel: 2.2"):
        assert part in out
    assert run("verify", file)[0] == 0
    status, out, _ = run("constant", "tanh", "repu2", "--sharp", "--json", "-")
    assert status == 0
    sharp = json.loads(out)["sharp"]
    assert sharp["closed_form"] == "8/(3 sqrt 3)"
    assert sharp["limit"]
    assert sharp["gap"] <= 1e-12
    status, out, _ = run("constant", "tanh", "relu", "--weight", "bias-free")
    assert status == 0
    assert "Theorem Bias free" in out


def test_constant_as_json(run):
    status, out, _ = run("constant", "gelu", "--s", 2, "--json", "-")
    assert status == 0
    document = json.loads(out)
    assert document["schema"] == "jaxbarron-constant"
    assert document["verdict"] == "embedded"
    assert document["lower"] <= document["upper"]
    taylor = document["closed_forms"][0]
    # the oracle for gelu, s = 2 (mpmath, 25 digits)
    assert taylor["lower"] <= 2.0416540401866 + 1e-13
    assert taylor["upper"] >= 2.0416540401866 - 1e-13


def test_an_open_pair_shows_the_error_against_the_norm(run):
    status, out, _ = run("constant", "gelu", "tanh", "--weight", "2")
    assert status == 0
    assert "is open" in out
    known = best_approximations("gelu", "tanh", 2)
    assert len(known) >= 4
    for row in known:
        assert rounded_up(row.norm, 6) in out
        assert rounded_up(row.error, 4) in out
    status, out, _ = run("constant", "gelu", "tanh", "--weight", "2", "--json", "-")
    assert [x["norm"] for x in json.loads(out)["approximation"]] == [x.norm for x in known]


def test_constant_on_a_reach(run, tmp_path):
    file = tmp_path / "sin.json"
    status, out, _ = run("constant", "sin", "--s", 1, "--reach", 4, "--save", file)
    assert status == 0
    assert "Taylor kernel on |z| <= 4" in out
    assert "does not embed" in out
    assert run("verify", file)[0] == 0


def test_a_witness_is_saved_and_verified(run, tmp_path):
    file = tmp_path / "witness.json"
    status, out, _ = run("constant", "relu", "tanh", "--save", file)
    assert status == 0
    assert "relu does not embed in the Barron space of tanh" in out
    assert run("verify", file)[0] == 0


def test_a_gap_that_is_not_reached_is_shown(run, monkeypatch):
    monkeypatch.setattr("jaxbarron.cli.sharp.sharp_constant", lambda *_: None)
    status, out, _ = run("constant", "silu", "relu", "--sharp", "--rel-gap", "1e-12")
    assert status == 0
    assert "C, sharp" in out
    assert "the relative gap asked for was not reached" in out


def test_a_weight_of_infinite_constant_is_said_to_be(run):
    status, out, _ = run("constant", "sigmoid", "relu", "--weight", "l2")
    assert status == 0
    assert "infinite" in out
    assert "sigma(0) is not 0" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("constant", "tanh"), "no target"),
        (("constant", "tanh", "rello"), "nearest: relu"),
        (("constant", "tanh", "gelu", "--reach", "2"), "a target RePU_s"),
        (("constant", "tanh", "relu", "--reach", "-1"), "a finite number > 0"),
        (("constant", "tanh", "relu", "--reach", "nan"), "a finite number > 0"),
        (("constant", "tanh", "relu", "--weight", "0"), "a whole number from 1 to 16"),
        (("constant", "tanh", "relu", "--weight", "l1"), "bias-free or l2"),
        (("constant", "tanh", "--s", "2", "--weight", "l2"), "the target relu"),
        (("constant", "tanh", "relu", "--weight", "bias-free", "--save", "x.json"), "leave --save"),
        (("constant", "tanh", "sigmoid", "--sharp"), "a target RePU_s, s >= 1"),
        (("constant", "silu", "relu", "--sharp", "--rel-gap", "2"), "from 1e-12 to 1"),
        (("constant", "tanh", "relu", "--sharp", "--reach", "2"), "one of them"),
        (("constant", "tanh", "--s", "17"), "from 0 to 16"),
        (("constant", "gelu", "tanh", "--weight", "2", "--save", "x.json"), "which is open"),
        (("atlas", "--weight", "two"), "--weight two"),
        (("atlas", "--weight", "99"), "a whole number from 1 to 16"),
        (("atlas", "--source", "tahn"), "nearest: tanh"),
        (("atlas", "--source", "tanh", "--html", "missing/a.html"), "a folder that exists"),
    ],
)
def test_bad_input_of_atlas_and_constant(run, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(*arguments)
    assert status == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_atlas_of_a_few_pairs(run, tmp_path):
    folder, page = tmp_path / "certificates", tmp_path / "atlas.html"
    status, out, _ = run(
        "atlas", "--source", "tanh", "--source", "relu", "--target", "relu", "--target", "tanh",
        "--save", folder, "--html", page, "--json", tmp_path / "atlas.json",
    )  # fmt: skip
    assert status == 0
    for part in ("embedded", "not embedded", "One reach", "Smoothness witness"):
        assert part in out
    saved = sorted(folder.iterdir())
    assert len(saved) == 4
    assert run("verify", *saved)[0] == 0
    document = json.loads((tmp_path / "atlas.json").read_text())
    assert document["format"] == "jaxbarron-atlas"
    assert len(document["pairs"]) == 4
    gains = {(p["source"], p["target"]): p["gain"] for p in document["pairs"]}
    assert gains["tanh", "relu"] == pytest.approx(2.2384, abs=1e-4)
    assert gains["relu", "tanh"] is None
    assert "2.238" in out
    assert "<td>2.238</td>" in page.read_text()


def test_an_open_pair_shows_its_best_approximations(run):
    status, out, _ = run("atlas", "--source", "gelu", "--target", "tanh", "--weight", "2")
    assert status == 0
    assert "is open" in out
    assert "norm" in out
    assert "error" in out


def test_the_whole_atlas_is_a_map(run):
    status, out, _ = run("atlas")
    assert status == 0
    assert "961 pairs" in out
    assert "embeds in" in out
