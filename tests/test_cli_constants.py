"""The command line of the constants: bracket, constant, atlas."""

import json

import pytest

from jaxbarron.atlas import best_approximations
from jaxbarron.balls.notation import rounded_up
from jaxbarron.certificates import verify

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
    ("arguments", "part"),
    [
        (("tanh", "relu", "--sharp", "--weight", "l2"), "lower bound at w = 2.65577"),
        (("tanh", "relu", "--weight", "bias-free"), "Theorem Bias free"),
        (("sigmoid", "relu", "--weight", "l2"), "sigma(0) is not 0"),
    ],
)
def test_constants_in_other_weights_have_certificates(run, arguments, part, tmp_path):
    file = tmp_path / "constant.json"
    status, out, _ = run("constant", *arguments, "--save", file)
    assert status == 0
    assert part in out
    status, out, _ = run("verify", file)
    assert status == 0
    text = file.read_text()
    file.write_text(text.replace('"tanh"', '"erf"').replace('"sigmoid"', '"gaussian"'))
    assert run("verify", file)[0] == 1


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
