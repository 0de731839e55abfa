"""The page of a report: one HTML file that asks nothing of any network, and lets no text of a run become code."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

_SCRIPTS = ("elements", "state", "results", "curves", "viewer", "pictures", "runs", "start")


def page(document: Mapping[str, Any]) -> str:
    """The HTML of a report.

    The document is data, not script: no `<` of it is left, and the page's own policy runs the one script and takes the
    one style whose hashes it names, and fetches nothing.

    Args:
        document: As `jgr.jobs.report.document.document` makes it.
    """
    script = "\n".join(["'use strict';", *(_asset(f"{name}.js") for name in _SCRIPTS)])
    style = _asset("report.css")
    policy = f"default-src 'none'; img-src data:; script-src '{_hash(script)}'; style-src '{_hash(style)}'"
    parts = {
        "policy": f"{policy}; base-uri 'none'; form-action 'none'",
        # A name of bytes that are no UTF-8 is a text that no file takes; JSON escapes such.
        "title": html.escape(document["title"].encode(errors="replace").decode()),
        "style": style,
        "script": script,
        "document": json.dumps(document, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    # In one pass: what was put in is not looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset("report.html"))


def _asset(name: str) -> str:
    return resources.files("jgr.jobs.report").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
