import base64
import hashlib
import html.parser
import json
import re

import pytest

from jgr.jobs.report.document import document
from jgr.jobs.report.page import page
from tests.jobs.report import made
from tests.jobs.report.hostile import HOSTILE, hostile


class Parsed(html.parser.HTMLParser):
    """The elements of a page and the texts of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.inside = [], {}, False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.texts[len(self.elements) - 1], self.inside = "", True

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.texts[len(self.elements) - 1] += data

    def of(self, tag):
        return [(attrs, self.texts.get(place, "")) for place, (name, attrs) in enumerate(self.elements) if name == tag]


def test_the_page_is_one_file_whose_policy_lets_nothing_else_in():
    parsed = Parsed(page(document(made.small())))
    assert not [attrs for _, attrs in parsed.elements if attrs.keys() & {"src", "href", "srcset", "action", "onclick"}]
    (policy,) = [
        attrs["content"] for attrs, _ in parsed.of("meta") if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; img-src data:; ")
    ((_, style),) = parsed.of("style")
    (_, data), (_, script) = parsed.of("script")
    for kind, text in (("script", script), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert json.loads(data)["title"] == "Made"
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", script + style)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_run_becomes_an_element(text):
    plain, parsed = Parsed(page(document(hostile("plain")))), Parsed(page(document(hostile(text))))
    assert [tag for tag, _ in parsed.elements] == [tag for tag, _ in plain.elements]
    (_, data), _ = parsed.of("script")
    assert "<" not in data
    found = json.loads(data)
    assert found["title"] == found["arms"][0]["name"] == found["notes"][0] == text
    assert found["arms"][0]["config"][text] == text
    assert parsed.of("h1")[0][1].strip() == text.encode(errors="replace").decode().strip()
