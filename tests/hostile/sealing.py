"""Manifests that fit what was put into a run: an attacker who changes a file changes its digest as well."""

import hashlib
import json
from pathlib import Path

from regard.files import encode_json


def seal(manifest: Path) -> None:
    """Write the sizes and digests of the files beside a manifest into it."""
    content = json.loads(manifest.read_bytes())
    for name, entry in content["files"].items():
        raw = (manifest.parent / name).read_bytes()
        entry["bytes" if "bytes" in entry else "size"] = len(raw)
        entry["sha256"] = hashlib.sha256(raw).hexdigest()
    manifest.write_bytes(encode_json(content))
