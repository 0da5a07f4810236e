"""The page as a reader meets it: in Chromium, by pointer and by keyboard, with words that want to be scripts."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from regard.inspection.pictures.glyphs import label, visible
from regard.inspection.pictures.maps import Candidate, Heads, Map, Step
from regard.inspection.pictures.page import write_page
from tests.inspection.hostile import HOSTILE

pytestmark = pytest.mark.browser

KNOWN = (
    "h1, h2, h3, p, div, nav, ol, li, main, section, header, footer, noscript, span, b, i, bdi, button, "
    "table, caption, thead, tbody, tr, th, td, canvas, svg, path, script"
)
"""The elements that the page is made of."""

FEET = Map(
    weights=torch.tensor([[0.9, 0.06, 0.04], [0.0, 0.02, 0.98], [0.03, 0.97, 0.0], [0.0, 0.999, 0.001]]),
    rows=["j'ai", "mal", "aux", "pieds"],
    columns=["my", "feet", "hurt"],
    gold=frozenset({(0, 0), (1, 3), (2, 1)}),
    title="my feet hurt",
    note="layer 2, head 3",
    belief="The weights may be believed.",
)
ARABIC = Map(weights=torch.eye(3), rows=["my", "feet", "hurt"], columns=["قدماي", "تؤلمانني", "."], title="Arabic")


def steps(one: Map) -> list[Step]:
    return [
        Step(
            token=token,
            columns=one.columns,
            scores=torch.tensor([2.0, -1.0, float("-inf")]),
            weights=one.weights[place],
            shares=torch.tensor([0.25, 0.75, 0.0]),
            candidates=[Candidate(token=token, probability=0.6), Candidate(token="autre", probability=0.3)],
        )
        for place, token in enumerate(one.rows)
    ]


class Opened:
    """A page in the browser, and everything that must not happen in it."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.told: list[str] = []
        self.tried: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.told.append(message.text))
        page.on("pageerror", lambda error: self.told.append(str(error)))
        page.on("dialog", self._refuse)
        page.on("request", lambda request: self.tried.append(request.url))
        page.route("**/*", self._answer)
        page.goto(address)

    def _answer(self, route: Any) -> None:
        self.asked.append(route.request.url)
        if len(self.asked) == 1:
            route.continue_()
        else:
            route.abort()

    def _refuse(self, dialog: Any) -> None:
        self.told.append(dialog.message)
        dialog.dismiss()

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).first.text_content())

    def texts(self, selector: str) -> list[str]:
        return [str(text) for text in self.page.locator(selector).all_text_contents()]

    def focused(self) -> str:
        return str(self.page.evaluate("document.activeElement.textContent"))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)


Open = Callable[..., Opened]


def corner(page: Opened) -> list[int]:
    """Red, green and blue of the first pixel of the first small picture, read from a copy.

    Reading the picture itself again and again makes the browser complain, and waiting in the page for an expression
    (Playwright's wait_for_function) evaluates a string there, which the page's own rules forbid.
    """
    return list(
        page.page.evaluate(
            """() => {
                const copy = new OffscreenCanvas(1, 1).getContext("2d");
                copy.drawImage(document.querySelector("canvas"), 0, 0);
                return [...copy.getImageData(0, 0, 1, 1).data.slice(0, 3)];
            }"""
        )
    )


@pytest.fixture
def opened(chromium: Any, tmp_path: Path) -> Iterator[Open]:
    """Open maps as a page; afterwards, nothing was asked of anyone and nothing was complained about."""
    pages: list[Opened] = []

    def open_maps(
        *maps: Map, heads: list[Heads | None] | None = None, width: int = 1280, place: str = "", **context: Any
    ) -> Opened:
        path = tmp_path / "page.html"
        write_page(path, maps, title="Pictures", heads=heads)
        page = chromium.new_context(viewport={"width": width, "height": 900}, **context).new_page()
        pages.append(Opened(page, path.as_uri() + place))
        return pages[-1]

    yield open_maps
    for page in pages:
        page.page.context.close()
        assert len(page.asked) == 1
        assert page.told == []


class TestPointer:
    def test_an_output_word_shows_what_it_used(self, opened: Open) -> None:
        page = opened(FEET)
        page.page.hover("#target .word >> nth=3")
        assert page.texts("#source .number") == ["", "1.0", ""]
        white = "words => words.filter(w => getComputedStyle(w).color === 'color(srgb 1 1 1)').map(w => w.textContent)"
        assert page.page.eval_on_selector_all("#source .word", white) == ["feet1.0"]
        assert page.texts("#source .word.gold .text") == ["feet"]
        assert page.texts("#target .word.active .text") == ["pieds"]
        assert page.text("#readout") == "pieds ← feet 0.999"
        assert page.texts(".map th.lit") == ["pieds"]
        assert page.page.locator("#lines path").count() == 1

    def test_an_input_word_shows_who_used_it(self, opened: Open) -> None:
        page = opened(FEET)
        page.page.hover("#source .word >> nth=0")
        assert page.texts("#target .number") == [".90", "", ".03", ""]
        assert page.text("#readout") == "my → j'ai 0.900aux 0.030"

    def test_a_cell_shows_its_two_words_and_its_weight(self, opened: Open) -> None:
        page = opened(FEET)
        page.page.hover(".cell >> nth=7")
        assert page.text("#readout") == "aux ← feet 0.970"
        assert page.texts(".word.active .text") == ["feet", "aux"]
        assert page.page.locator(".band").count() == 2
        assert page.texts(".tip") == ["aux ← feet 0.970"]

    def test_leaving_lets_go_unless_it_was_clicked(self, opened: Open) -> None:
        page = opened(FEET)
        page.page.hover("#target .word >> nth=3")
        page.page.mouse.move(0, 0)
        assert page.text("#readout") == ""
        page.page.click("#target .word >> nth=3")
        page.page.mouse.move(0, 0)
        assert page.text("#readout") == "pieds ← feet 0.999"
        page.press("Escape")
        assert page.text("#readout") == ""

    def test_nothing_moves_away_from_under_the_pointer(self, opened: Open) -> None:
        page = opened(Map(weights=torch.full((3, 30), 1 / 30), rows=["a" * 400, ".", "b"], columns=["i", "."] * 15))
        places = """[...document.querySelectorAll('.word, .map')].map(one => {
            const box = one.getBoundingClientRect(); return [box.x, box.y + scrollY, box.width, box.height]; })"""
        before = page.page.evaluate(places)
        for selector in ("#target .word >> nth=0", "#source .word >> nth=17", ".cell >> nth=3"):
            page.page.hover(selector)
            assert page.page.evaluate(places) == before

    def test_short_sentences_show_all_their_lines_and_long_ones_those_of_one_word(self, opened: Open) -> None:
        forty = Map(weights=torch.eye(40), rows=[f"mot{i}" for i in range(40)], columns=[f"word{i}" for i in range(40)])
        page = opened(FEET, forty)
        assert page.page.locator("#lines path").count() == 4
        page.page.click("#sentences li >> nth=1")
        assert page.page.locator("#lines path").count() == 0
        page.page.hover("#target .word >> nth=7")
        assert page.page.locator("#lines path").count() == 1


class TestKeyboard:
    def test_the_arrows_choose_a_sentence(self, opened: Open) -> None:
        page = opened(FEET, ARABIC)
        page.press("Tab", "ArrowDown")
        assert page.text("#sentence-title") == "Arabic"
        assert page.texts("#sentences [aria-selected=true] span") == ["قدماي تؤلمانني .", "my feet hurt"]
        page.press("ArrowDown", "ArrowUp")
        assert page.text("#sentence-title") == "my feet hurt"

    def test_the_arrows_walk_the_words_and_enter_holds_one(self, opened: Open) -> None:
        page = opened(FEET)
        page.press("Tab", "Tab", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight")
        assert page.text("#readout") == "pieds ← feet 0.999"
        page.press("Enter", "Tab", "Home")
        page.press("Shift+Tab", "Shift+Tab", "Shift+Tab")
        assert page.text("#readout") == "pieds ← feet 0.999"
        page.press("Escape")
        assert page.text("#readout") == ""

    def test_the_arrows_walk_the_matrix(self, opened: Open) -> None:
        page = opened(FEET)
        page.press("Tab", "Tab", "Tab")
        name = "document.activeElement.getAttribute('aria-label')"
        assert page.page.evaluate(name) == "j'ai from my: 0.900, gold link"
        page.press("ArrowRight", "ArrowDown", "ArrowDown")
        assert page.page.evaluate(name) == "aux from feet: 0.970"
        page.press("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowDown", "ArrowDown", "End")
        assert page.page.evaluate(name) == "pieds from hurt: 0.001"
        assert page.text("#readout") == "pieds ← hurt 0.001"

    def test_from_right_to_left_the_left_arrow_goes_on(self, opened: Open) -> None:
        page = opened(ARABIC)
        page.press("Tab", "ArrowLeft")
        assert page.focused().startswith("تؤلمانني")
        page.press("ArrowRight")
        assert page.focused().startswith("قدماي")

    def test_everything_can_be_reached_and_shows_that_it_is(self, opened: Open) -> None:
        page = opened(FEET, ARABIC, heads=[Heads(weights=torch.full((2, 3, 4, 3), 0.3)), None])
        reached = []
        for _ in range(6):
            page.press("Tab")
            reached.append(page.page.evaluate("document.activeElement.closest('[id]').id"))
            assert page.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert reached == ["sentences", "source", "target", "matrix", "heads", "heads"]


class TestHeads:
    def test_a_small_picture_changes_what_is_shown(self, opened: Open) -> None:
        weights = torch.full((2, 3, 4, 3), 0.25)
        weights[1, 2, 3] = torch.tensor([0.6, 0.4, 0.0])
        page = opened(FEET, heads=[Heads(weights=weights)])
        assert page.page.locator("#heads canvas").count() == 2 * (3 + 1)
        page.page.click("[aria-label='layer 1, head 2']")
        assert page.text("#shown") == "Showing layer 1, head 2."
        assert not page.page.is_visible("#belief")  # it was measured of the alignment
        page.page.hover("#target .word >> nth=3")
        assert page.texts("#source .number") == [".60", ".40", ""]
        page.page.click("[aria-label='layer 1, mean of its heads']")
        page.page.hover("#target .word >> nth=3")
        assert page.text("#readout") == "pieds ← my 0.367feet 0.300hurt 0.167"
        page.page.click("text=the alignment")
        page.page.hover("#target .word >> nth=3")
        assert page.text("#readout") == "pieds ← feet 0.999"
        assert page.page.is_visible("#belief")
        assert page.text("#belief") == "The weights may be believed."

    def test_the_keyboard_chooses_a_head(self, opened: Open) -> None:
        page = opened(FEET, heads=[Heads(weights=torch.full((2, 3, 4, 3), 0.25))])
        page.page.focus(".tile.whole")
        page.press("Tab", "ArrowDown", "ArrowRight", "Enter")
        assert page.text("#shown") == "Showing layer 1, head 1."
        assert page.page.locator("[aria-pressed=true]").get_attribute("aria-label") == "layer 1, head 1"


class TestSteps:
    def test_a_step_shows_scores_weights_shares_and_candidates(self, opened: Open) -> None:
        page = opened(Map(weights=FEET.weights, rows=FEET.rows, columns=FEET.columns, steps=steps(FEET)))
        page.page.focus("#step-words .word >> nth=0")
        page.press("ArrowRight", "ArrowRight")
        assert page.text("#step caption") == "Step 3 of 4: where it looked"
        assert page.texts("#step tbody tr >> nth=1") == ["feet-1.000.9700.750"]
        assert page.texts("#step tbody tr >> nth=2") == ["hurtnot seen0.0000.000"]
        assert page.texts("#step .emitted") == ["aux0.600"]

    def test_a_step_with_a_note_shows_it(self, opened: Open) -> None:
        noted = [replace(steps(FEET)[0], note="<b>The map shows these weights at mal")]
        page = opened(Map(weights=FEET.weights, rows=FEET.rows, columns=FEET.columns, steps=noted))
        assert page.texts("#step p") == ["<b>The map shows these weights at mal"]

    def test_a_sentence_without_steps_has_no_such_part(self, opened: Open) -> None:
        page = opened(FEET)
        assert not page.page.locator("#steps-section").is_visible()
        assert not page.page.locator("#heads-section").is_visible()


class TestLook:
    def test_a_sentence_of_forty_words_fits_and_can_be_read(self, opened: Open) -> None:
        rows = [f"parole{place}" for place in range(40)]
        columns = [f"sentence{place}" for place in range(40)]
        page = opened(Map(weights=torch.eye(40), rows=rows, columns=columns))
        assert page.page.evaluate("document.documentElement.scrollWidth") == 1280
        assert page.page.evaluate(
            "document.querySelector('#matrix').scrollWidth <= document.querySelector('#matrix').clientWidth"
        )
        size = page.page.evaluate("getComputedStyle(document.querySelector('.map th span')).fontSize")
        assert float(size.removesuffix("px")) >= 10
        assert page.page.locator(".cell").first.bounding_box()["width"] >= 16

    @pytest.mark.parametrize("width", [360, 800, 1920])
    def test_no_width_makes_the_page_scroll_sideways(self, opened: Open, width: int) -> None:
        long = Map(weights=torch.eye(3), rows=["a" * 300, "b", "c"], columns=["日本" * 90, "b", "c"], title="t" * 400)
        heads = Heads(weights=torch.full((3, 12, 3, 3), 0.3), layers=["l" * 200] * 3)
        page = opened(long, FEET, heads=[heads, None], width=width)
        assert page.page.evaluate("document.documentElement.scrollWidth") == width

    def test_dark_and_light_are_those_of_the_system(self, opened: Open) -> None:
        background = "getComputedStyle(document.documentElement).backgroundColor"
        assert opened(FEET, color_scheme="light").page.evaluate(background) == "rgb(251, 250, 247)"
        assert opened(FEET, color_scheme="dark").page.evaluate(background) == "rgb(15, 19, 26)"

    @pytest.mark.parametrize("ground", ["light", "dark"])
    def test_a_weight_can_be_read_on_its_color(self, opened: Open, ground: str) -> None:
        shades = Map(weights=torch.linspace(0, 1, 81).view(9, 9), rows=list("abcdefghi"), columns=list("abcdefghi"))
        page = opened(shades, color_scheme=ground)
        contrast = """() => {
            const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
            const light = (color) => {
                pen.fillStyle = color;
                pen.fillRect(0, 0, 1, 1);
                const [red, green, blue] = [...pen.getImageData(0, 0, 1, 1).data].map(
                    (part) => part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
                return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
            };
            return [...document.querySelectorAll(".cell")].map((cell) => {
                const style = getComputedStyle(cell);
                const [one, other] = [light(style.color), light(style.backgroundColor)];
                return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
            });
        }"""
        found = page.page.evaluate(contrast)
        assert len(found) == 81
        assert min(found) > 3.4  # where both inks read alike; the Web's guidelines ask for 3 of what is no running text

    def test_small_pictures_follow_a_change_of_the_system(self, opened: Open) -> None:
        page = opened(FEET, heads=[Heads(weights=torch.zeros(1, 1, 4, 3))], color_scheme="light")
        assert corner(page) == [255, 255, 255]
        page.page.emulate_media(color_scheme="dark")
        for _ in range(100):
            if corner(page) != [255, 255, 255]:
                break
            page.page.wait_for_timeout(50)
        assert max(corner(page)) < 40

    def test_nothing_moves_where_the_system_asks_for_rest(self, opened: Open) -> None:
        duration = "getComputedStyle(document.querySelector('.word')).transitionDuration"
        assert opened(FEET, reduced_motion="reduce").page.evaluate(duration) == "0s"

    def test_right_to_left_words_begin_at_the_right(self, opened: Open) -> None:
        page = opened(ARABIC)
        first, second = (page.page.locator(f"#source .word >> nth={place}").bounding_box()["x"] for place in (0, 1))
        assert first > second
        first, second = (page.page.locator(f".cell >> nth={place}").bounding_box()["x"] for place in (0, 1))
        assert first > second
        assert page.page.locator("#target .word >> nth=0").bounding_box()["x"] < second + 1000

    def test_the_frame_lies_on_its_cells(self, opened: Open) -> None:
        for one in (FEET, ARABIC):
            page = opened(one)
            page.page.click(".cell >> nth=4")
            cell = page.page.locator(".cell >> nth=4").bounding_box()
            row, column = (page.page.locator(f".band >> nth={place}").bounding_box() for place in (0, 1))
            assert row["y"] == pytest.approx(cell["y"] - 1, abs=1.5)
            assert column["x"] == pytest.approx(cell["x"] - 1, abs=1.5)
            assert column["width"] == pytest.approx(cell["width"], abs=3)

    def test_a_print_is_on_paper_with_its_colors(self, opened: Open) -> None:
        page = opened(FEET, ARABIC, color_scheme="dark")
        page.page.emulate_media(media="print")
        page.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 36, 48)"
        assert not page.page.locator("nav").is_visible()
        assert len(page.page.pdf()) > 5_000

    def test_an_address_opens_its_sentence(self, opened: Open) -> None:
        assert opened(FEET, ARABIC, place="#2").text("#sentence-title") == "Arabic"
        assert opened(FEET, ARABIC, place="#3").text("#sentence-title") == "my feet hurt"

    def test_no_words_are_said_so(self, opened: Open) -> None:
        empty = Map(weights=torch.zeros(0, 3), rows=[], columns=["a", "b", "c"])
        page = opened(empty, heads=[Heads(weights=torch.zeros(2, 3, 0, 3))])
        assert page.text("#matrix") == "No words."
        assert page.text("#sentence-title") == "Sentence 1"
        page.page.hover("#source .word >> nth=1")
        assert page.text("#readout").startswith("b")


@pytest.fixture(scope="module")
def attacked(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """One page in which every text is hostile, its file name too."""
    maps, heads = [], []
    for word in HOSTILE:
        two = [word, "tame"]
        many = [Candidate(token=word, probability=0.5)]
        step = Step(token=word, columns=two, scores=torch.zeros(2), weights=torch.ones(2) / 2, candidates=many)
        maps.append(Map(weights=torch.eye(2), rows=two, columns=two, title=word, note=word, steps=[step, step]))
        heads.append(Heads(weights=torch.ones(1, 1, 2, 2) / 2, layers=[word], heads=[word]))
    path = tmp_path_factory.mktemp("hostile") / "<img src=x onerror=window.fired=1>&'\"#`${fired=1}.html"
    write_page(path, maps, title=path.name + "".join(HOSTILE), heads=heads)
    page = chromium.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.add_init_script("addEventListener('securitypolicyviolation', event => console.error(event.violatedDirective))")
    yield Opened(page, path.as_uri())
    page.context.close()


class TestHostileWords:
    @pytest.mark.parametrize("place", range(len(HOSTILE)), ids=lambda place: ascii(HOSTILE[place])[:24])
    def test_a_hostile_word_is_a_word(self, attacked: Opened, place: int) -> None:
        word = HOSTILE[place]
        attacked.page.click(f"#sentences li >> nth={place}")
        attacked.page.hover("#target .word >> nth=0")
        attacked.page.focus("#step-words .word >> nth=1")
        assert attacked.text("#note") == visible(word)
        attacked.page.click(".grid .tile >> nth=0")
        attacked.page.click(".cell >> nth=0")
        assert attacked.texts("#source .text") == [label(word), "tame"]
        assert attacked.text("#target .text") == attacked.text("#step-words .text") == label(word)
        assert attacked.text("#sentence-title") == (visible(word) or f"Sentence {place + 1}")
        assert attacked.text("#note") == ""  # it speaks of the alignment, and a head is shown
        assert attacked.text(".grid tbody th") == visible(word)
        assert attacked.page.evaluate("window.fired") is None
        strange = f"document.querySelectorAll('body :not({KNOWN})').length"
        assert attacked.page.evaluate(strange) == 0
        assert attacked.page.evaluate("document.scripts.length") == 2

    def test_nothing_ran_and_nothing_was_asked(self, attacked: Opened) -> None:
        attacked.page.hover("#source .word >> nth=0")
        attacked.page.wait_for_timeout(100)
        assert attacked.told == []
        assert len(attacked.tried) == len(attacked.asked) == 1
        assert attacked.page.evaluate("window.fired") is None

    @pytest.mark.parametrize(
        ("attempt", "directive"),
        [
            ("add('script', 'textContent', 'window.fired=1')", "Trusted"),
            ("document.body.innerHTML = '<p>'", "Trusted"),
            ("document.body.insertAdjacentHTML('beforeend', '<p>')", "Trusted"),
            ("document.body.setAttribute('onclick', 'window.fired=1'); document.body.click()", ""),
            ("fetch('https://example.org').catch(() => 0)", "connect-src"),
            ("add('img', 'src', 'https://example.org/x.png')", "img-src"),
            ("add('iframe', 'src', 'https://example.org')", "frame-src"),
            ("add('link', 'href', 'https://example.org/x.css').rel = 'stylesheet'", "style-src"),
            ("add('style', 'textContent', 'body { color: red }')", "style-src"),
            ("navigator.sendBeacon('https://example.org')", "connect-src"),
            ("new WebSocket('wss://example.org')", "connect-src"),
        ],
    )
    def test_even_a_script_that_ran_could_not_do_it(self, opened: Open, attempt: str, directive: str) -> None:
        page = opened(FEET)
        add = "const add = (tag, name, value) => { const made = document.createElement(tag); made[name] = value;"
        add += " document.body.append(made); return made; };"
        page.page.evaluate(f"() => {{ {add} try {{ {attempt} }} catch (error) {{ console.error(String(error)) }} }}")
        page.page.wait_for_timeout(100)
        assert page.page.evaluate("window.fired") is None
        assert directive in "".join(page.told)
        assert page.told
        assert len(page.asked) == 1
        page.told.clear()
