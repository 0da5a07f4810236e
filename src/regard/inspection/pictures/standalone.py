"""HTML files that stand alone: their data as text, their policy by digest, their parts from the package.

A page travels by mail and is opened on other machines, and the words in it come from anywhere. So they travel as
data, scripts build every element without parsing markup, and a policy in the page lets the browser run one script
and one style by their digests, and ask nobody for anything.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

_MARKER = re.compile(r"<!--regard:(\w+)-->")
_UNSAFE = re.compile("[<>&\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]")


def filled(template: str, *, title: str, style: str, script: str, **texts: str) -> str:
    """Fill a template of the package; `texts` must be safe inside the elements that they go to."""
    filling = {
        "policy": policy(style=style, script=script),
        "title": html.escape(title),
        "style": style,
        "script": script,
        **texts,
    }
    return _MARKER.sub(lambda marker: filling[marker[1]], part(template))


def embedded(data: Mapping[str, Any]) -> str:
    """Write JSON that holds nothing a parser of HTML or a reader of the source could stumble over."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def policy(*, style: str, script: str) -> str:
    """Allow this script and this style, and nothing else."""
    rules = {
        "default-src": "'none'",
        "script-src": _digest(script),
        "style-src": _digest(style),
        "img-src": "data:",  # the empty icon, without which a browser asks a server for one
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def part(name: str) -> str:
    """Read a file of the pages; a checkout may have changed its line ends, a browser hashes LF."""
    text = resources.files("regard.inspection.pictures").joinpath("page", name).read_bytes().decode("utf-8")
    return text.replace("\r\n", "\n")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
