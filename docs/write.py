"""Write the parts of the docs that repeat what the code says: every command's help, every option, every mechanism.

    python docs/write.py

tests/test_docs.py fails where a page is not what this writes. Between two comments of a page everything is replaced;
commands.md is written whole, and so is the page of each mechanism (mechanism_pages.py), with its picture.
"""

import dataclasses
import inspect
import io
import re
import textwrap
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclopts.help import PlainFormatter
from mechanism_pages import TABLES, page_of, pictures
from mechanism_pages import pages as mechanism_pages
from mechanism_pictures import draw, is_current
from mechanism_weights import shown
from rich.console import Console

from regard.cli.main import COMMANDS, build_app
from regard.tasks.recipe import Recipe

DOCS = Path(__file__).parent
WIDTH = 118

COMMANDS_HEAD = """\
# Every command

This page is `regard --help` and `regard COMMAND --help`, written by `make docs`. What the commands have in common:

- Where no file is named, a command reads standard input and writes standard output. Everything but the result goes to
  standard error.
- Exit status: 0 done; 2 the input or the options are wrong (the message names all faults at once); 1 the work failed;
  130 interrupted (Ctrl-C), 143 ended (SIGTERM).
- Files of text are UTF-8, plain or gzip. A line ends at LF or CRLF and at nothing else.
"""


def commands_page() -> str:
    """Return commands.md."""
    overview = "\n".join(f"- [`regard {name}`](#regard-{name}): {text}" for name, text in COMMANDS.items())
    return "\n".join([COMMANDS_HEAD, overview, *(command_section(name) for name in COMMANDS)])


def command_section(name: str) -> str:
    """Return the section of a command: its help, an option a line."""
    app = build_app()
    app.help_formatter = PlainFormatter()
    stream = io.StringIO()
    app.help_print([name], console=Console(file=stream, width=10_000, color_system=None))
    lines = []
    for line in stream.getvalue().split("\n"):
        if option := re.fullmatch(r"  (\S.*?): (.*)", line):
            lines.append(item(f"`{option[1]}`: {option[2].strip()}"))
        elif line.startswith("Usage: "):
            lines.append(f"`{line.removeprefix('Usage: ').strip()}`")
        else:
            lines.append(line.rstrip())
    body = re.sub(r"\n{3,}", "\n\n", "\n".join(lines).replace(":\n- ", ":\n\n- ")).strip("\n")
    return f"\n## regard {name}\n\n{body}\n"


def item(text: str) -> str:
    """Write an item of a list."""
    return textwrap.fill(text, WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)


def mechanisms() -> str:
    """Return the tables of all mechanisms, out of the catalogue."""
    titles = {"choices": "Choices, between weights and mix"}
    parts = []
    for group, rows in TABLES.items():
        cells = [
            (f"[`{name}`](mechanisms/{page_of(group, name)}.md)", f"`{row.equation}`", row.source)
            for name, row in rows.items()
        ]
        parts.append(f"**{titles.get(group, group.capitalize())}**\n\n{table(('name', 'equation', 'source'), cells)}")
    return "\n\n".join(parts)


def recipe_options() -> str:
    """Return every option of a recipe with its default and what it means, out of the configurations."""
    top = [field for field in dataclasses.fields(Recipe) if not configs_of(Recipe, field.name)]
    parts = [options_table("Of the recipe itself", Recipe, "", {field.name for field in top})]
    for field in dataclasses.fields(Recipe):
        for config in configs_of(Recipe, field.name):
            kind = f" of kind {config.kind}" if hasattr(config, "kind") and field.name == "model" else ""
            parts.append(options_table(f"`[{field.name}]`{kind}", config, f"{field.name}."))
    return "\n\n".join(parts)


def configs_of(owner: type, name: str) -> list[Any]:
    """Return the dataclasses that a field may be of."""
    kind = typing.get_type_hints(owner)[name]
    several = isinstance(kind, types.UnionType)
    return [one for one in (typing.get_args(kind) if several else (kind,)) if dataclasses.is_dataclass(one)]


def options_table(title: str, config: Any, prefix: str, only: set[str] | None = None) -> str:
    """Return the table of one configuration."""
    meanings, hints = attributes(config), typing.get_type_hints(config)
    rows = []
    for field in dataclasses.fields(config):
        if only is not None and field.name not in only:
            continue
        meaning, choices = meanings.get(field.name, ""), literals(hints[field.name])
        if len(choices) > 1 and not all(choice in meaning for choice in choices):
            meaning = f"One of {', '.join(choices)}. {meaning}".strip()
        rows.append((f"`{prefix}{field.name}`", default(field), meaning))
    return f"**{title}**\n\n{table(('option', 'default', 'meaning'), rows)}"


def literals(kind: Any) -> Sequence[Any]:
    """Return the words that a field may hold; none where it holds something else."""
    return typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()


def default(field: "dataclasses.Field[Any]") -> str:
    """Write a field's default."""
    value = field.default
    if value is None:
        return "-"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def attributes(config: type) -> dict[str, str]:
    """Read what the docstring of a class says of its attributes."""
    text = (inspect.getdoc(config) or "").partition("Attributes:")[2]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8,}\S.*)*)", text, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", meaning).strip() for name, meaning in entries}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table."""
    lines = [head, ["---"] * len(head), *[[cell.replace("|", "\\|") for cell in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def between(page: str, name: str, content: str) -> str:
    """Replace what stands between the two comments of this name."""
    begin, end = f"<!-- {name}: written by make docs -->", f"<!-- end of {name} -->"
    before, _, rest = page.partition(begin)
    assert end in rest, f"the page has no place for {name}"
    return f"{before}{begin}\n\n{content}\n\n{end}{rest.partition(end)[2]}"


def pages() -> dict[str, str]:
    """Return the pages as they should be, by the name of their file."""
    equation, recipes = ((DOCS / name).read_text(encoding="utf-8") for name in ("the-equation.md", "recipe.md"))
    return {
        "commands.md": commands_page(),
        "the-equation.md": between(equation, "mechanisms", mechanisms()),
        "recipe.md": between(recipes, "options", recipe_options()),
        **mechanism_pages(),
    }


def write_all() -> None:
    """Write pages and pictures, and remove those of mechanisms that are no more."""
    texts, drawn = pages(), pictures()
    for folder in (DOCS / "mechanisms", DOCS / "pictures" / "mechanisms"):
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.relative_to(DOCS).as_posix() not in (*texts, *drawn):
                path.unlink()
    for name, text in texts.items():
        (DOCS / name).write_text(text, encoding="utf-8", newline="\n")
    for name, (group, mechanism) in drawn.items():
        if not is_current(DOCS / name, weights := shown(group, mechanism)):
            (DOCS / name).write_bytes(draw(weights))


if __name__ == "__main__":
    write_all()
