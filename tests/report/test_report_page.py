"""The page: complete, without a request, and as a browser shows it."""

import dataclasses
import math
import re

import jax
import numpy as np
import pytest
from page_browser import Reader, chromium

import jaxbarron as jb
from jaxbarron.report.chart import Axis, Chart, ticks_of
from jaxbarron.report.data import Failure
from jaxbarron.report.page import report_page

HOSTILE = "<img src=x onerror=alert(1)>\"'&"


@pytest.fixture(scope="module")
def report():
    rng = np.random.default_rng(0)
    w = [rng.normal(size=s).astype(np.float32) for s in ((3, 8), (8, 4))]
    x = rng.normal(size=(60, 3)).astype(np.float32)

    def net(w, x):
        return jax.nn.gelu(x @ w[0]) @ w[1]

    few = jb.ReportOptions(
        finetune_steps=8, evaluations=4, finetune_batch=8, sizes=(1, 2), pairs=1, boxes=1,
        ascent_steps=2,
    )  # fmt: skip
    y = np.asarray(net(w, x)).argmax(1)
    return jb.switch_report(net, w, {"gelu": "relu"}, x, y, tol=1e-2, options=few)


def hostile(report):
    failures = (Failure(HOSTILE, HOSTILE),)
    (site,) = report.kept.sites
    wide = dataclasses.replace(site, path=HOSTILE, certified=math.inf)
    kept = dataclasses.replace(report.kept, sites=(wide,) * 8)
    return dataclasses.replace(report, subject=HOSTILE, failures=failures, kept=kept)


def test_the_page_answers_all_three(report):
    read = Reader(report_page(report))
    assert "Safe as it is" in read.inside("verdict")
    assert "Rule: safe as it is: accuracy worse by at most 0.5 points" in read.inside("verdict")
    claims = read.inside("equivalence")
    for text in ("eps-equivalence", "Top-1 equivalence", "delta-Top-1", "sampled", "rigorous"):
        assert text in claims
    for candidate in report.candidates:
        assert candidate.name in read.inside("costs")
        assert candidate.name in read.inside("candidates")
        assert candidate.verdict.text in read.inside("verdicts")
    assert f"{report.kept.sites[0].certified:.4g}" in read.inside("sites")
    for stage in report.path.stages:
        assert f"{stage.first_step} to {stage.last_step}" in read.inside("path")
    for part in ("costs", "candidates", "verdicts"):
        assert "kernel, then knots removed" in read.inside(part)
    assert "opset 20" in read.inside("tools")
    assert "K = 1" in read.inside("unavailable")
    labels = [v for tag, name, v in read.attributes if (tag, name) == ("svg", "aria-label")]
    assert [label.split(",")[0].split(":")[0] for label in labels] == [
        "Change by layer", report.kept.sites[0].path, "Held-out loss during fine-tuning",
        "Held-out loss over the sham's", "Knots removed in training",
        "Latency against change",
    ]  # fmt: skip


def test_the_page_asks_the_network_for_nothing(report):
    for page in (report_page(report), report_page(hostile(report))):
        read = Reader(page)
        assert "://" not in page
        assert "<script" not in page
        names = {"src", "srcset", "action", "data", "poster", "href", "xlink:href"}
        assert not [a for a in read.attributes if a[1] in names]
        assert not re.search(r"@import|url\(", page)
        assert any("default-src 'none'" in (v or "") for _, _, v in read.attributes)


def test_names_are_text_and_what_is_missing_is_said(report):
    read = Reader(report_page(hostile(report)))
    assert HOSTILE in read.inside("failures")
    assert "unbounded" in read.inside("sites")
    bare = dataclasses.replace(
        report, training=None, unavailable=(), path=None,
        candidates=tuple(
            dataclasses.replace(c, finetuning=None, worth=None) for c in report.candidates
        ),
        kept=dataclasses.replace(report.kept, sites=(), worst_found=(), certified=(), groups=()),
    )  # fmt: skip
    read = Reader(report_page(bare))
    assert "Not measured." in read.inside("finetuning")
    assert "not measured" in read.inside("candidates")


@pytest.mark.parametrize(
    ("axis", "texts"),
    [
        (Axis(-0.3, 0.7, ""), ["-0.2", "0", "0.2", "0.4", "0.6"]),
        (Axis(0.5, 3.5, "", whole=True), ["1", "2", "3"]),
        (Axis(2e-6, 3e-4, "", "log"), ["1e-5", "1e-4"]),
        (Axis(2.0, 5.0, "", "log"), ["2", "3.2", "5"]),
    ],
)
def test_ticks_are_round_and_inside(axis, texts):
    ticks = ticks_of(axis)
    assert [text for _, text in ticks] == texts
    assert all(axis.low <= value <= axis.high * (1 + 1e-12) for value, _ in ticks)


def test_points_lie_where_the_axes_say():
    chart = Chart("", Axis(0, 10, ""), Axis(1e-2, 1e2, "", "log"), width=182, height=158)
    assert chart.at(0, 1e-2) == (64, 114)
    assert chart.at(10, 1e2) == (164, 14)
    assert chart.at(5, 1) == (114, 64)


# ------------------------------------------------------------------ in a browser


@pytest.fixture
def browse(tmp_path):
    return chromium(tmp_path)


def test_a_browser_shows_it_without_a_word(browse, report):
    read, messages = browse(report_page(hostile(report)))
    assert messages == []
    assert HOSTILE in read.inside("failures")
    assert sum(tag == "svg" for tag, name, _ in read.attributes if name == "viewbox") == 13
    # what the page's own policy refuses would be seen
    planted = report_page(report).replace("</body>", "<script>document.title = 1</script></body>")
    _, messages = browse(planted)
    assert any("Content Security Policy" in line for line in messages)
