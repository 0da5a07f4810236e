"""The docs say what is so: their code runs, their commands parse, their links lead somewhere, their lists are whole."""

import importlib.util
import io
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import regard
from regard.cli.inputs import split_recipe_options
from regard.cli.main import COMMANDS, build_app, main
from regard.tasks.recipe import Recipe, build_recipe, merged, nested, overrides, preset, preset_names, unknown_names
from tests.tasks import tiny

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCE = ROOT / "src" / "regard"
DATA = ("train", "more", "valid", "test")

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"--[a-z][a-z0-9-]*")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def fenced(path: Path, language: str) -> list[str]:
    return [body for found, body in FENCE.findall(path.read_text(encoding="utf-8")) if found == language]


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def segments(line: str) -> Iterator[list[str]]:
    """The commands of a line of shell, without what joins them."""
    part: list[str] = []
    for word in [*shlex.split(line), "|"]:
        if word in ("|", "&&", ">", "<"):
            yield part
            part = []
        else:
            part.append(word)


def shell_lines(path: Path) -> list[str]:
    text = "".join(fenced(path, "sh")).replace("\\\n", " ")
    return [line for line in text.split("\n") if line.strip()]


LINES = [(path, line) for path in PAGES for line in shell_lines(path)]
COMMAND_LINES = [(path, part[1:]) for path, line in LINES for part in segments(line) if part[:1] == ["regard"]]
PYTHON_PAGES = [path for path in PAGES if fenced(path, "python")]


def shown(value: object) -> str:
    return name_of(value) if isinstance(value, Path) else " ".join(value) if isinstance(value, list) else str(value)


def parsed(arguments: list[str]) -> Any:
    """The options that a command would be run with."""
    _, bound, _ = build_app().parse_args(split_recipe_options(arguments), exit_on_error=False, print_error=False)
    return bound.arguments.get("options")


def known_options() -> set[str]:
    helps = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    return set(OPTION.findall(helps)) | {"--help"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the runs and files that the docs name."""
    for run in ("run", "run-fr-en"):
        tiny.save(tmp_path / run)
    for name in DATA:
        for side, lines in (("en", tiny.LINES.sources), ("fr", tiny.LINES.targets)):
            (tmp_path / f"{name}.{side}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (tmp_path / "input.txt").write_text("my feet hurt\nthe cat sleeps\n", encoding="utf-8")
    for name, line in (("forward", "0-0 1-2"), ("reverse", "0-0 2-2"), ("gold", "1-1 2?2")):
        (tmp_path / f"{name}.txt").write_text(f"{line}\n" * 3, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    """docs/write.py."""
    spec = importlib.util.spec_from_file_location("docs_write", ROOT / "docs" / "write.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")  # its neighbors there
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def written(writer: ModuleType) -> dict[str, str]:
    """The pages as they should be."""
    pages: dict[str, str] = writer.pages()
    return pages


def test_there_are_pages_commands_and_code_to_check() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/the-equation.md"} <= set(map(name_of, PAGES))
    assert len(COMMAND_LINES) > 15
    assert len(PYTHON_PAGES) >= 4


def test_pages_are_as_their_writer_writes_them(written: dict[str, str]) -> None:
    for name, text in written.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, f"run make docs: {name} is out of date"


def test_every_mechanism_and_option_is_in_the_docs(written: dict[str, str]) -> None:
    assert "`model.input_feeding`" in written["recipe.md"]
    assert "`v . tanh(W q + U k)`" in written["the-equation.md"]
    assert "    v . tanh(W q + U k)\n" in written["mechanisms/scores-additive.md"]
    assert all(f"## regard {name}\n" in written["commands.md"] for name in COMMANDS)


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=name_of)
def test_python_in_the_docs_runs(page: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"__name__": "docs"}
    for code in fenced(page, "python"):
        exec(compile(code, str(page), "exec"), names)


@pytest.mark.parametrize(("page", "arguments"), COMMAND_LINES, ids=shown)
def test_commands_in_the_docs_parse(page: Path, arguments: list[str]) -> None:
    options = parsed(arguments)
    if arguments[0] == "train" and not options.resume:
        from regard.cli.train import chosen_recipe

        chosen_recipe(options)


RUNNABLE = [(page, line) for page, line in LINES if line.split("regard ")[-1].split()[0] in COMMANDS]
QUICK = [(page, line) for page, line in RUNNABLE if not re.search("regard (demo|train|compare)", line)]


@pytest.mark.parametrize(("page", "line"), QUICK, ids=shown)
def test_commands_in_the_docs_run(page: Path, line: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "joined.txt").write_text("0-0\n" * 3, encoding="utf-8")
    *before, arguments = segments(line)
    stdin = f"{before[-1][1]}\n".encode() if before else b""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    assert main(arguments[1:]) == 0


def test_the_training_of_the_readme_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = next(line for line in shell_lines(ROOT / "README.md") if line.startswith("regard train"))
    small = ["--tokenizer.vocab_size=300", "--model.model_dim=16", "--model.feed_forward_dim=16"]
    small += ["--model.encoder_layers=1", "--model.decoder_layers=1"]
    arguments = [word.replace("run", "new-run") if word == "run" else word for word in shlex.split(line)[1:]]
    assert main([*arguments, "--max-updates", "2", *small]) == 0
    assert main(["translate", "new-run", "input.txt"]) == 0
    assert len(capsys.readouterr().out.split("\n")) == 3


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_named_in_prose_exist(page: Path) -> None:
    known = known_options()
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        words = code.split()
        if words[0] == "regard" and len(words) > 1 and not words[1].startswith("-") and words[1] != "COMMAND":
            assert words[1] in COMMANDS, code
        if words[0] not in ("regard", "align") and not words[0].startswith("--"):
            continue
        for word in words:
            if "." in word and word.startswith("--"):
                assert is_recipe_option(word.removeprefix("--").partition("=")[0]), code
            elif found := OPTION.match(word):
                assert found[0] in known, code


def is_recipe_option(path: str) -> bool:
    keys = path.split(".")
    return any(
        not unknown_names({"model": {"kind": kind}, **merged({"model": {"kind": kind}}, nested(keys, 1))}, Recipe)
        for kind in ("transformer", "recurrent")
    )


def test_what_is_no_option_of_a_recipe_is_seen() -> None:
    assert is_recipe_option("model.encoder_layers")
    assert is_recipe_option("model.input_feeding")
    assert not is_recipe_option("model.num_layers")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match("[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def anchors(page: Path) -> set[str]:
    """The anchors that headings get on the usual hosts."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_named_in_the_docs_exist(page: Path) -> None:
    for code in re.findall(r"`([^`\s]+)`", prose(page)):
        if re.fullmatch(r"[\w./-]+/[\w.-]*", code) and re.match(r"(src|tests|benchmarks|docs|\.ci)/", code):
            assert (ROOT / code).exists(), code
        elif re.fullmatch(r"(attention|layers|models|data|training|generation|inspection|tasks|cli)/[\w./]+", code):
            assert (SOURCE / code).exists(), code
        elif code.startswith("make "):
            assert code.removeprefix("make ") in targets(), code


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_make_targets_in_the_docs_exist() -> None:
    words = {part[-1] for _, line in LINES for part in segments(line) if part[:1] == ["make"]}
    words |= set(re.findall(r"`make ([a-z-]+)`", prose(ROOT / "CONTRIBUTING.md")))
    assert words
    assert words <= targets()


def test_the_tree_of_the_readme_is_the_tree() -> None:
    tree = (ROOT / "README.md").read_text(encoding="utf-8").partition("    src/regard/\n")[2]
    named = re.findall(r"^      (\S+)  +\S", tree, re.MULTILINE)
    there = [entry.name + "/" * entry.is_dir() for entry in SOURCE.iterdir() if entry.name != "__pycache__"]
    assert sorted(named) == sorted(set(there) - {"__main__.py", "py.typed"})
    assert all((ROOT / name).is_dir() for name in re.findall(r"^    (\w+/) ", tree, re.MULTILINE))
    public = re.search(r"the public names: (.*)", tree)
    assert public is not None
    assert sorted(public[1].split(", ")) == sorted(regard.__all__)


def test_every_room_has_its_line_in_contributing() -> None:
    rooms = re.findall(r"^\| `src/regard/(\w+)/`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    there = [entry.name for entry in SOURCE.iterdir() if entry.is_dir() and entry.name != "__pycache__"]
    assert sorted(rooms) == sorted(there)


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [re.split("[><=]", one)[0] for one in project["dependencies"]]
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Dependencies")[2]
    assert re.findall(r"^\| ([a-z][\w-]*) \| \S", text, re.MULTILINE)[1:] == needed
    for tool in (re.split("[><=]", one)[0] for one in project["optional-dependencies"]["dev"]):
        assert tool in text


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_opens_with_the_command_that_uses_it(name: str) -> None:
    head = re.match("(#.*\n)+", (SOURCE / "presets" / f"{name}.toml").read_text(encoding="utf-8"))
    assert head is not None
    (command,) = re.findall(r"^#   (regard .*)$", head[0], re.MULTILINE)
    options = parsed(shlex.split(command)[1:])
    assert command == "regard demo" or options.preset == name
    build_recipe(preset(name))
    for used in re.findall(r"--preset (\S+)", head[0]):
        assert used in preset_names()


def test_every_preset_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "train-on-your-own-text.md").read_text(encoding="utf-8")
    assert all(f"| `{name}`" in text for name in preset_names())


def test_recipes_in_the_docs_are_recipes() -> None:
    for page in PAGES:
        for code in fenced(page, "toml"):
            build_recipe(tomllib.loads(code))


def test_options_in_the_table_of_questions_make_a_recipe() -> None:
    text = prose(ROOT / "docs" / "train-on-your-own-text.md")
    given = re.findall(r"--([a-z]+\.[a-z_]+=[^\s`]+)", text)
    assert len(given) > 8
    for option in given:
        build_recipe(merged(preset("transformer-tiny"), overrides([option])))
