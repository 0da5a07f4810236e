"""What `regard compare` found, kept beside a benchmark and shown on a page of docs."""

import shutil
from pathlib import Path

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"


def keep(run: Path, kept: Path) -> None:
    """Copy what a comparison wrote into its folder."""
    kept.mkdir(parents=True, exist_ok=True)
    for name in ("comparison.md", "comparison.json", "comparison.png"):
        shutil.copy(run / name, kept / name)


def section(kept: Path, picture: str, title: str) -> list[str]:
    """Return the part of a page that shows a kept comparison, one level down; nothing where none is kept."""
    if not (kept / "comparison.md").exists():
        return []
    shutil.copy(kept / "comparison.png", PICTURES / f"{picture}.png")
    tables = (kept / "comparison.md").read_text(encoding="utf-8").partition("\n")[2].strip()
    tables = tables.replace("(comparison.png)", f"(pictures/{picture}.png)")
    return ["", f"## {title}", f"\n{tables}".replace("\n## ", "\n### ")]
