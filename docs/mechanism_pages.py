"""Write the page of every mechanism of the catalogue: equation, source, words, picture, lines that run, ways.

What is written by hand, the caption of a picture and the lines, stands in examples/: a file a group, a cell each.
"""

import inspect
import re
import textwrap
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import torch
from mechanism_weights import TABLES, built, calls, sizes_of

from regard.attention.attend import WAYS
from regard.attention.call import AttentionCall
from regard.attention.rotary import halves
from regard.attention.scalings import UNSCALED
from regard.attention.ways import flex

DOCS = Path(__file__).parent
WIDTH = 118
WIDE = 16
"""Width of the heads of the call that ways are asked about: as wide as the most demanding way wants them."""


class Group(NamedTuple):
    """What the rows of a table have in common.

    Attributes:
        kind: What one is called.
        anchor: Where the equation speaks of it.
        compared: What the example compares.
        note: What all pictures of the group need to be understood.
    """

    kind: str
    anchor: str
    compared: str = "words"
    note: str = ""


PRODUCTS = "The scores are scaled dot products."
TURNED = "One vector stands at all positions and is turned by them, base 100: cells differ by the distance alone."
GROUPS = {
    "scores": Group("a score", "scores-how-alike"),
    "biases": Group("a bias", "biases-what-is-known-beforehand", note=PRODUCTS),
    "masks": Group("a mask", "masks-what-may-be-seen", note=PRODUCTS),
    "normalizers": Group("a normalizer", "normalizers-from-scores-to-weights", note=PRODUCTS),
    "choices": Group("a choice between weights and mix", "choices-between-weights-and-mix"),
    "positions": Group("positions", "all-mechanisms", "positions"),
    "rotations": Group("a rotation", "heads-rotations-and-caches", "positions", TURNED),
    "heads": Group("heads", "heads-rotations-and-caches"),
    "caches": Group("a cache", "heads-rotations-and-caches"),
}

LEGEND = "Queries down, keys across; the darker, the more; gray is exactly 0."


class Example(NamedTuple):
    """A cell of examples/: what the picture shows, and lines that run."""

    caption: str
    code: str


@cache
def examples(group: str) -> dict[str, Example]:
    """Read the cells of a group, each headed by `# %%` and a name."""
    text = (DOCS / "examples" / f"{group}.py").read_text(encoding="utf-8")
    names, cells = (re.split(r"^# %% (\w+)\n", text, flags=re.MULTILINE)[start::2] for start in (1, 2))
    found = {}
    for name, cell in zip(names, cells, strict=True):
        caption, _, code = cell.partition("\n\n")
        found[name] = Example(" ".join(line.removeprefix("# ") for line in caption.split("\n")), code.strip("\n"))
    return found


def page_of(group: str, name: str) -> str:
    """Return the name of a page, without its ending."""
    return f"{group}-{name}"


def pictures() -> dict[str, tuple[str, str]]:
    """Return group and name of every mechanism by the file of its picture."""
    return {
        f"pictures/mechanisms/{page_of(group, name)}.png": (group, name) for group in TABLES for name in TABLES[group]
    }


def pages() -> dict[str, str]:
    """Return all pages by their file."""
    return {f"mechanisms/{page_of(group, name)}.md": page(group, name) for group in TABLES for name in TABLES[group]}


def page(group: str, name: str) -> str:
    """Return the page of a mechanism."""
    assert name in examples(group), f"docs/examples/{group}.py has no cell for {name}: its caption, and lines that run"
    row, example, file = TABLES[group][name], examples(group)[name], page_of(group, name)
    parts = [
        f"# {name}, {GROUPS[group].kind}",
        f"    {row.equation}",
        fill(f"Source: {row.source}."),
        *same(group, name),
        *paragraphs(group, name),
        f"![The weights of {name} on twelve {GROUPS[group].compared}](../pictures/mechanisms/{file}.png)",
        fill(f"{LEGEND} {GROUPS[group].note} {example.caption}"),
        f"```python\n{example.code}\n```",
        fill(f"Ways: {ways(group, name)}"),
        fill(f"[The equation](../the-equation.md#{GROUPS[group].anchor}). {neighbors(group, name)}"),
    ]
    return "\n\n".join(parts) + "\n"


def same(group: str, name: str) -> list[str]:
    """Name the mechanisms that are the same row of the catalogue."""
    rows = TABLES[group]
    others = [other for other in rows if other != name and rows[other] is rows[name]]
    return [f"Another name of {' and '.join(link(group, other) for other in others)}."] if others else []


def neighbors(group: str, name: str) -> str:
    """Link the other mechanisms of a group."""
    others = [link(group, other) for other in TABLES[group] if other != name]
    return f"Other {group}: {', '.join(others)}." if others else "There is no other of its kind."


def link(group: str, name: str) -> str:
    """Link a page from another one."""
    return f"[{name}]({page_of(group, name)}.md)"


def paragraphs(group: str, name: str) -> list[str]:
    """Say what a mechanism is, in the words of its class or function; of a rotation what is special comes first."""
    made = built(TABLES[group][name].build, sizes_of(group))
    special = (
        [one for one in (made.scaling, made.pairing) if one not in (UNSCALED, halves)] if group == "rotations" else []
    )
    return [text for one in (*special, made) for text in described(one)]


def described(part: object) -> list[str]:
    """Return the paragraphs of a docstring, without its sections and the files and functions that it points to."""
    text = inspect.getdoc(part if inspect.isroutine(part) else type(part)) or ""
    text = re.split(r"^(?:Attributes|Args|Raises):", text, flags=re.MULTILINE)[0]
    text = re.sub(r"\s\((?:`[\w./]+`|[\w/]+\.py)\)", "", text)
    return [fill(one) for one in text.strip().split("\n\n")]


def ways(group: str, name: str) -> str:
    """Say which ways run a small call."""
    if group == "choices":
        return "any of them may have computed the weights; the choice is made of these, and `mix` does the rest."
    call = calls(group, name, WIDE)[-1].call
    able = [way for way, module in WAYS.items() if not module.why_not(call)]
    also = "" if flex.why_not(on_cuda(call)) else "; on CUDA also `flex`"
    return f"{', '.join(f'`{way}`' for way in able)}{also}."


def on_cuda(call: AttentionCall) -> AttentionCall:
    """Return the call as flex would meet it: ways answer by types, shapes and devices, never by what a tensor holds."""
    query, value = (
        SimpleNamespace(device=torch.device("cuda"), dtype=torch.float32, shape=side.shape)
        for side in (call.query, call.value)
    )
    return call._replace(query=query, value=value)


def fill(text: str) -> str:
    """Break a paragraph into lines, none of which begins with a sign that would make it an item of a list."""
    glued = re.sub(r"\s+([-+*>=]|\d+\.)(?=\s)", "\0\\1", " ".join(text.split()))
    lines = textwrap.fill(glued, WIDTH, break_long_words=False, break_on_hyphens=False)
    return lines.replace("\0", " ")
