"""A page as a reader of HTML sees it, and as headless Chromium shows it."""

import html.parser
import os
import re
import shutil
import subprocess

import pytest


class Reader(html.parser.HTMLParser):
    """Elements, attributes and texts; refuses tags that are not closed in order."""

    VOID = ("meta", "link", "img", "input", "br", "hr")

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in self.VOID:
            self.open.append((tag, dict(attrs).get("id")))

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        self.texts.append((tuple(self.open), data))

    def inside(self, part):
        """The text within the element of that id."""
        return " ".join("".join(
            text for path, text in self.texts if any(i == part for _, i in path)
        ).split())  # fmt: skip

    def values(self, tag, name):
        return [value for t, n, value in self.attributes if t == tag and n == name]


def chromium(folder):
    """Opens a page in headless Chromium without a network; its DOM after scripts, its messages."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    if binary is None:
        if os.environ.get("JAXBARRON_REQUIRE_CHROMIUM") == "1":
            pytest.fail("JAXBARRON_REQUIRE_CHROMIUM=1, and no chromium is on PATH")
        # asked for: the pages are opened where a browser is there; .ci/run installs and demands it
        pytest.skip("no chromium on PATH")

    def run(page, address="", script=""):
        file = folder / "page.html"
        added = f"<script>{script}</script>" if script else ""
        file.write_text(page.replace("</body>", f"{added}</body>"), "utf-8")
        done = subprocess.run(
            [binary, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}",
             "--enable-logging=stderr", "--virtual-time-budget=5000", "--window-size=1400,1000",
             "--dump-dom", file.as_uri() + address],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        messages = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return Reader(re.sub(r"<!DOCTYPE html>", "", done.stdout)), messages

    return run
