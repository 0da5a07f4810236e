"""Imports only go downwards: the levels of DESIGN, checked file by file."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "regard"

LEVELS = [
    {"errors"},
    {"files"},
    {"attention"},
    {"layers"},
    {"models", "data"},
    {"training", "generation", "inspection", "pretrained"},
    {"tasks"},
    {"server"},
    {"experiments"},
    {"cli"},
]
ATTENTION_LEVELS = [
    {"grid", "autocast", "entmax", "choices", "scalings"},
    {"scores", "biases", "masks", "normalizers", "positions", "rotary"},
    {"patterns", "lengths", "shifts", "kernels"},
    {"call"},
    {"ways"},
    {"attend"},
    {"caches"},
    {"heads"},
    {"rotary_heads", "pooling"},
    {"catalogue", "pytorch"},
]
INSPECTION_LEVELS = [
    {"readers", "keeping", "selection"},
    {"capture"},
    {"unwatched"},
    {"watch"},
    {"lens"},
    {"named_calls", "alignments"},
    {"statistics", "effects"},
    {"pictures"},
]
INSIDE = {"attention": ATTENTION_LEVELS, "inspection": INSPECTION_LEVELS}


def level_of(name: str, levels: list[set[str]]) -> int | None:
    return next((number for number, names in enumerate(levels) if name in names), None)


def imports_of(path: Path) -> list[list[str]]:
    """Names below `regard` that a file imports, as lists of parts, at any depth of its code."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name.split(".")[1:] for alias in node.names if alias.name.startswith("regard.")]
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "regard":
            parts = (node.module or "").split(".")[1:]
            found += [parts] if parts else [[alias.name] for alias in node.names]
            if len(parts) == 1:
                found += [[*parts, alias.name] for alias in node.names]
    return found


def upward_imports(path: Path) -> list[str]:
    """Imports of a file that go upwards or sideways."""
    place = path.relative_to(SOURCE).with_suffix("").parts
    if len(place) == 1 and place[0] not in ("errors", "files"):
        return []  # __init__ and __main__ are the doors of the package
    faults = []
    for target in imports_of(path):
        here, there = level_of(place[0], LEVELS), level_of(target[0], LEVELS)
        if here is None:
            faults.append(f"{'/'.join(place)}: its room has no level")
        elif target[0].startswith("__"):
            continue  # the package's version
        elif place[0] != target[0] and (there is None or there >= here):
            faults.append(f"{'/'.join(place)} imports regard.{'.'.join(target)}")
        elif place[0] == target[0] and place[0] in INSIDE and len(target) > 1:
            inside, beneath = (level_of(x[1], INSIDE[place[0]]) for x in (place, target))
            if inside is not None and beneath is not None and beneath >= inside and place[1] != target[1]:
                faults.append(f"{'/'.join(place)} imports regard.{'.'.join(target)}")
    return faults


def test_there_are_files_to_check() -> None:
    assert len(list(SOURCE.rglob("*.py"))) > 20


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_go_downwards(path: Path) -> None:
    assert upward_imports(path) == []
