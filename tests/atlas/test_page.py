"""The atlas page: one file that holds every pair, asks nothing of the network, and works."""

import itertools
import json
import math
import random
import re
import urllib.parse

import numpy as np
import pytest
from page_browser import Reader, chromium

from jaxbarron.atlas.page import atlas_page
from jaxbarron.balls.notation import bracket
from jaxbarron.errors import NonFiniteError, UsageError

NAMES = ["tanh", "relu", "gelu", "repu(2)", *(f"act{i}" for i in range(27))]
HOSTILE = '</script><img src=x onerror="alert(1)">&amp;'
BIG = 2**61 + 1  # no float holds it


def made_up(names, seed=0):
    """A document of every pair: what embeds goes up in rank, with all that a pair can carry."""
    draw_from = random.Random(seed)
    pairs = []
    for (i, s), (j, t) in itertools.product(enumerate(names), repeat=2):
        pair = {"source": s, "target": t, "order": 2 if t == "repu(2)" else 1, "level": "rigorous"}
        lower = 1 + draw_from.random()
        if i // 2 <= j // 2 and (i + j) % 3:
            edge = {"source": s, "target": t, "rule": "taylor", "theorem": "Taylor embedding"}
            edge |= {"upper": lower * 1.7, "formula": f"{s}(z) = int D(t) {t}(z - t) dt"}
            points = np.round(np.linspace(-4, 4, 33), 3).tolist()
            values = [round(math.exp(-x * x) * lower, 4) for x in points]
            pair |= {"verdict": "embedded", "lower": lower, "upper": lower * 1.7}
            pair |= {"theorem": "Taylor embedding", "reason": f"{s} < {t}", "route": [edge]}
            pair |= {"direct": edge, "formula": edge["formula"]}
            pair["density"] = {"points": points, "values": values, "atoms": [[0.25, lower]]}
            pair["certificate"] = {"kind": "embedding", "digits": BIG, "upper": (lower * 1.7).hex()}
        elif i > j:
            ratios = [[4.0, 8.125], [2.0**-16, math.inf]]
            pair |= {"verdict": "not embedded", "lower": None, "upper": None}
            pair["witness"] = {"theorem": "Jump witness", "kind": "jump", "ratios": ratios}
        else:
            pair |= {"verdict": "open", "reason": "nothing is known"}
            known = [(1.5, 0.1), (2.25, 0.01), (7.5, 0.001)]
            pair["approximation"] = [
                {"norm": n * lower, "error": e, "level": "rigorous"} for n, e in known
            ]
        pairs.append(pair)
    activations = [{"name": n, "formula": f"{n} z"} for n in names]
    head = {"format": "jaxbarron-atlas", "version": 1, "library": "0.0"}
    return {**head, "activations": activations, "pairs": pairs}


def of_pairs(*pairs):
    return {"format": "jaxbarron-atlas", "version": 1, "pairs": list(pairs)}


def chain():
    """tanh -> elu -> relu beside a direct edge, and the other verdicts."""
    steps = [
        {"source": "tanh", "target": "elu", "rule": "resolvent", "theorem": "Resolvent kernel",
         "upper": 2.0, "formula": "tanh(z) = int D(t) elu(z - t) dt"},
        {"source": "elu", "target": "relu", "rule": "taylor", "theorem": "Taylor embedding",
         "upper": 1.515625},
    ]  # fmt: skip
    direct = {"source": "tanh", "target": "relu", "rule": "taylor", "upper": 3.4601}
    first = {"source": "tanh", "target": "relu", "order": 1, "verdict": "embedded"}
    first |= {"lower": 2.0, "upper": 3.03125, "level": "rigorous", "theorem": "Theorem Chain"}
    first |= {
        "route": steps,
        "direct": direct,
        "certificate": {"a": [1, {}], "n": BIG, "s": 'ü\\"'},
    }
    first["density"] = {"points": [-1.0, 0.0, 1.0], "values": [0, 1, 0], "atoms": [[0.5, 0.75]]}
    single = {"source": "tanh", "target": "elu", "verdict": "embedded", "upper": 2.0, "order": 1}
    none = {"source": "relu", "target": "tanh", "verdict": "not embedded", "level": "rigorous"}
    none["witness"] = {"kind": "jump", "gap": 1.0, "ratios": [[0.0625, 8.1239], [0.5, math.inf]]}
    unknown = {"source": "elu", "target": "tanh", "verdict": "open"}
    unknown["approximation"] = [
        {"norm": 1.5, "error": 0.1, "level": "rigorous"},
        {"norm": 4.0, "error": 0.001, "level": "sampled"},
    ]
    second = {"source": "elu", "target": "relu", "verdict": "embedded", "upper": 1.515625}
    odd = {"source": HOSTILE, "target": "my/fn", "verdict": "embedded", "reason": HOSTILE}
    return of_pairs(first, single | {"level": "float"}, second, none, unknown, odd)


# ------------------------------------------------------------------ the file


@pytest.fixture(scope="module")
def whole():
    document = made_up(NAMES)
    return document, atlas_page(document)


def leaves(value):
    if isinstance(value, dict):
        value = list(value.values())
    return [x for item in value for x in leaves(item)] if isinstance(value, list) else [value]


def test_the_page_holds_every_pair_and_number_and_stays_small(whole):
    document, page = whole
    read = Reader(page)
    assert len(page.encode()) < 3_000_000
    data = json.loads(read.inside("atlas-data"))
    assert len(data["pairs"]) == len(NAMES) ** 2
    for ours, theirs in zip(document["pairs"], data["pairs"], strict=True):
        certificate = theirs.pop("certificate")
        assert json.loads(certificate or "null") == ours.get("certificate")
        del theirs["shown"]
        rest = {k: v for k, v in ours.items() if k != "certificate"}
        assert leaves(theirs) == ["∞" if x == math.inf else x for x in leaves(rest)]
    cells = read.inside("matrix")
    for pair in document["pairs"]:
        if pair["verdict"] == "embedded":
            assert bracket(pair["lower"], pair["upper"]) in cells
        assert f"{pair['source']}/{pair['target']}" in read.values("tr", "id")
    assert read.inside("graph").split().count("gelu") >= 1
    assert set(read.values("a", "data-name")) == set(NAMES)


def test_the_page_asks_the_network_for_nothing(whole):
    _, page = whole
    read = Reader(page)
    assert "://" not in page
    for name in ("src", "srcset", "action", "data", "poster", "xlink:href"):
        assert not [a for a in read.attributes if a[1] == name]
    assert all(value.startswith("#") for _, name, value in read.attributes if name == "href")
    assert not re.search(
        r"@import|url\((?!#head)|\bfetch\(|XMLHttpRequest|import\(|WebSocket", page
    )
    assert any("default-src 'none'" in value for value in read.values("meta", "content"))


def test_each_link_of_the_page_leads_to_a_row_or_a_name(whole):
    # what a reader without scripts follows
    _, page = whole
    read = Reader(page)
    ids = {value for _, name, value in read.attributes if name == "id"}
    assert {urllib.parse.unquote(a[1:]) for a in read.values("a", "href")} <= ids


def test_names_and_sentences_are_text():
    page = atlas_page(chain())
    assert "<img" not in page
    assert 'onerror="' not in page
    assert page.count("</script>") == 2
    read = Reader(page)
    assert HOSTILE in read.values("a", "data-name")
    assert f"#{urllib.parse.quote(HOSTILE, safe='()')}/my%2Ffn" in read.values("a", "href")
    assert json.loads(read.inside("atlas-data"))["pairs"][-1]["reason"] == HOSTILE


def test_levels_stand_beside_constants():
    text = Reader(atlas_page(chain())).inside("matrix")
    assert "= 2" not in text
    assert "≤ 2 (float)" in text
    assert "≤ 1.516 (no level)" in text
    assert "[2, 3.032]" in text


@pytest.mark.parametrize("document", [of_pairs(), {"format": "jaxbarron-atlas", "version": 1}])
def test_an_empty_document_makes_a_page(document):
    assert "0 activations" in Reader(atlas_page(document)).values("svg", "aria-label")[0]


PAIR = {"source": "a", "target": "b", "verdict": "embedded"}


@pytest.mark.parametrize(
    ("document", "match"),
    [
        ({}, "format and version"),
        ({**of_pairs(), "version": 2}, "format and version"),
        (of_pairs(PAIR, PAIR), "twice"),
        (of_pairs({**PAIR, "verdict": "maybe"}), "verdict 'maybe'"),
        (of_pairs({**PAIR, "lower": 2.0, "upper": 1.0}), "one of the two proofs is wrong"),
        (of_pairs({**PAIR, "upper": "3"}), "a number or null"),
        (of_pairs({**PAIR, "order": 1.5}), "a whole number"),
        (of_pairs({"source": "a"}), "two names"),
    ],
)
def test_what_is_no_atlas_is_refused(document, match):
    with pytest.raises(UsageError, match=match):
        atlas_page(document)


@pytest.mark.parametrize(
    "wrong",
    [
        {"upper": math.nan},
        {"route": [{"source": "a", "target": "b", "upper": math.nan}]},
        {"density": {"points": [0.0], "values": [math.nan]}},
        {"witness": {"ratios": [[1.0, math.nan]]}},
        {"approximation": [{"norm": math.nan, "error": 1.0}]},
        {"certificate": {"upper": math.nan}},
    ],
)
def test_no_nan_reaches_the_page(wrong):
    with pytest.raises(NonFiniteError, match=r"document\.pairs\[0\]\..* = nan"):
        atlas_page(of_pairs({**PAIR, **wrong}))


# ------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    return chromium(tmp_path_factory.mktemp("browser"))


def test_the_address_chooses_the_pair(browse, whole):
    document, page = whole
    read, messages = browse(page, "#tanh/relu")
    assert messages == []
    assert set(read.values("a", "data-name")) == set(NAMES)
    pair = next(p for p in document["pairs"] if (p["source"], p["target"]) == ("tanh", "relu"))
    shown = read.inside("shown")
    assert "tanh in relu" in shown
    assert f"C in {bracket(pair['lower'], pair['upper'])} rigorous" in shown
    assert pair["formula"] in shown
    assert str(BIG) in shown
    assert "rigorous" in shown
    assert [a for a in read.values("svg", "aria-label") if a.startswith("Density of the kernel")]


def test_route_certificate_and_density_of_a_pair(browse):
    read, messages = browse(atlas_page(chain()), "#tanh/relu")
    assert messages == []
    shown = read.inside("shown")
    for text in ("tanh → elu", "≤ 2", "elu → relu", "≤ 1.516", "product", "≤ 3.032"):
        assert text in shown
    assert "Direct edge" in shown
    assert "≤ 3.461" in shown
    assert "tanh(z) = int D(t) elu(z - t) dt" in shown
    assert "0.5 0.75" in re.sub(r"(?<=0\.5)(?=0\.75)", " ", shown)
    assert read.values("a", "download") == ["tanh-relu-1.json"]
    link = next(a for a in read.values("a", "href") if a.startswith("data:"))
    kind, content = link.split(",", 1)
    assert kind == "data:application/json;charset=utf-8"
    assert json.loads(urllib.parse.unquote(content)) == chain()["pairs"][0]["certificate"]


def test_the_other_verdicts_show_their_evidence(browse):
    page = atlas_page(chain())
    read, messages = browse(page, "#relu/tanh")
    shown = read.inside("shown")
    assert messages == []
    assert "not embedded rigorous" in shown
    for text in ("ratio at least", "0.06258.123rigorous", "0.5∞rigorous", "gap"):
        assert text in shown
    read, messages = browse(page, "#elu/tanh")
    shown = read.inside("shown")
    assert messages == []
    for text in ("open", "1.5", "0.1001", "0.001001", "sampled"):
        assert text in shown
    assert "Error against norm" in read.values("svg", "aria-label")


def test_hostile_names_and_addresses_stay_text(browse):
    page = atlas_page(chain())
    address = "#" + urllib.parse.quote(HOSTILE, safe="") + "/my%2Ffn"
    read, messages = browse(page, address)
    assert messages == []
    assert f"{HOSTILE} in my/fn" in read.inside("shown")
    assert read.values("img", "src") == []
    read, messages = browse(page, "#%", SCRIPT % WRONG_ADDRESSES)
    assert messages == []
    texts = json.loads(read.inside("log"))
    assert ["No such activation" in t for t in texts] == [True, True, True, False, False]
    assert "not in the document" in texts[3]
    assert "Choose a cell" in texts[4]


SCRIPT = """
(async () => {
  const log = [], title = () => log.push(document.getElementById("panel-title").textContent);
  const arrived = () => new Promise((done) => addEventListener("hashchange", done, { once: true }));
  %s
  const line = Object.assign(document.createElement("p"), { id: "log" });
  line.textContent = JSON.stringify(log);
  document.body.append(line);
})();
"""

WRONG_ADDRESSES = """
  const shown = () => log.push(document.getElementById("shown").textContent);
  shown();
  for (const wrong of ["#no/such", "#a/b/c", "#tanh/tanh", "#"]) {
    location.hash = wrong; await arrived(); shown();
  }
"""

STEPS = """
  const cell = (s, t) => [...document.querySelectorAll("#matrix td a")]
    .find((a) => a.getAttribute("href") === `#${s}/${t}`);
  cell("elu", "relu").click(); await arrived(); title();
  const tabbable = [...document.querySelectorAll("#matrix td a")].filter((a) => a.tabIndex === 0);
  log.push(tabbable.length === 1 && tabbable[0] === cell("elu", "relu"));
  cell("tanh", "elu").focus();
  for (const key of ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowLeft"])
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  document.activeElement.click(); await arrived(); title();
  const target = document.getElementById("target");
  target.value = "relu"; document.getElementById("source").value = "tanh";
  target.dispatchEvent(new Event("change")); await arrived(); title();
  log.push(document.getElementById("list").open); // a browser opens what holds the address's id
  log.push(document.querySelectorAll("#graph .arc.chosen").length);
  log.push(document.querySelectorAll("#implied path").length);
  document.querySelector('#graph .node[data-name="tanh"]').dispatchEvent(
    new MouseEvent("click", { bubbles: true, cancelable: true })); await arrived(); title();
  log.push(document.getElementById("shown").textContent);
"""


def test_mouse_keyboard_and_choices_lead_to_pairs(browse):
    read, messages = browse(atlas_page(chain()), "", SCRIPT % STEPS)
    assert messages == []
    first, lone, second, third, opened, arcs, implied, fourth, listed = json.loads(
        read.inside("log")
    )
    assert opened is False
    assert (first, lone, third, fourth) == ("elu in relu", True, "tanh in relu", "tanh")
    assert (arcs, implied) == (2, 0)
    assert "Embeds inrelu [2, 3.032], elu ≤ 2 (float)" in listed
    # the columns read tanh, elu, relu; (elu, elu) is no pair and is stepped over
    assert second == "elu in tanh"


def test_an_edge_that_others_imply_is_drawn_when_chosen(browse):
    document = chain()
    document["pairs"][0]["route"] = [document["pairs"][0]["direct"]]
    read, messages = browse(
        atlas_page(document),
        "#tanh/relu",
        SCRIPT
        % """
      const paths = [...document.querySelectorAll("#implied path")];
      log.push(paths.length, paths.every((path) => path.getTotalLength() > 20));
    """,
    )
    assert messages == []
    assert json.loads(read.inside("log")) == [1, True]
    assert "The route is the direct edge." in read.inside("shown")


def test_faults_would_be_seen(browse):
    page = atlas_page(chain())
    picture = "new Image().src = 'https' + '://example.org/x.png';"
    request = "fetch('https' + '://example.org/x');"
    _, messages = browse(page, "", f"{picture}{request}throw new Error('planted');")
    assert any("planted" in line for line in messages)
    for part in ("img-src", "connect-src"):
        assert any("Content Security Policy" in line and part in line for line in messages)
