"""The atlas as a reader meets it: in Chromium, by pointer and keyboard, at 512 and 8,192 tokens, in a notebook."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from regard.attention.masks import Mask
from regard.attention.normalizers import Normalizer, Sigmoid, SinkSoftmax, Softmax
from regard.attention.patterns import Causal, TensorMask
from regard.attention.ways import reference
from regard.inspection.pictures import atlas
from regard.inspection.pictures.atlas import Panel, Side, panel
from regard.inspection.pictures.atlas_page import pack, write_atlas
from regard.inspection.pictures.standalone import part
from tests.inspection.atlases import a_call, a_panel, a_picture, a_side
from tests.inspection.hostile import HOSTILE
from tests.inspection.pictures.test_page_in_browser import Opened

pytestmark = pytest.mark.browser

Open = Callable[..., Opened]


@pytest.fixture
def opened(chromium: Any, tmp_path: Path) -> Iterator[Open]:
    """Open panels as a page; afterwards, nothing was asked of anyone and nothing was complained about."""
    pages: list[Opened] = []

    def open_panels(*panels: Panel, width: int = 1280, **context: Any) -> Opened:
        path = tmp_path / "atlas.html"
        write_atlas(path, panels, title="Atlas")
        page = chromium.new_context(viewport={"width": width, "height": 900}, **context).new_page()
        pages.append(Opened(page, path.as_uri()))
        page.wait_for_selector("[data-ready]", timeout=20_000)
        return pages[-1]

    yield open_panels
    for page in pages:
        page.page.context.close()
        assert len(page.asked) == 1
        assert page.told == []


def strongest(weights: torch.Tensor, prefix: str = "word") -> str:
    place = int(weights.argmax())
    return f"{prefix}{place} {weights[place]:.3f}"


class TestHeads:
    def test_a_small_picture_chooses_a_head_and_its_weights_are_the_models(self, opened: Open) -> None:
        page = opened(a_panel())
        page.page.click("[aria-label='layer.1, head 2']")
        page.page.wait_for_selector("h2:text-is('layer.1, head 2')")
        page.page.hover(".rows .token >> nth=5")
        weights = reference.weights(a_call(13, 13, seed=1))[0, 2, 5]
        assert page.texts(".readout .item")[0] == strongest(weights)
        assert page.texts(".columns .token.strong")[0] == f"word{int(weights.argmax())}"

    def test_the_keyboard_chooses_a_head(self, opened: Open) -> None:
        page = opened(a_panel())
        page.page.focus(".tile >> nth=0")
        page.press("ArrowDown", "ArrowRight", "Enter")
        page.page.wait_for_selector("h2:text-is('layer.1, head 1')")
        assert page.page.locator("[aria-pressed=true]").get_attribute("aria-label") == "layer.1, head 1"

    def test_the_arrows_find_their_column_where_layers_have_other_numbers_of_heads(self, opened: Open) -> None:
        sites = {f"layer.{place}": [a_call(13, 13, heads=heads)] for place, heads in enumerate((4, 2, 5))}
        page = opened(panel(sites, a_side(13)))

        def reached(*keys: str) -> str:
            page.press(*keys)
            return str(page.page.evaluate("document.activeElement.getAttribute('aria-label')"))

        page.page.focus("[aria-label='layer.0, head 1']")
        assert reached("ArrowDown") == "layer.1, head 1"
        assert reached("ArrowDown") == "layer.2, head 1"
        assert reached("End") == "layer.2, head 4"
        assert reached("ArrowUp") == "layer.1, head 1"  # the last that it has
        assert reached("ArrowUp") == "layer.0, head 3"  # as near to head 4 as it has
        assert reached("ArrowDown", "ArrowDown") == "layer.2, head 4"
        assert reached("ArrowDown", "ArrowRight") == "layer.2, head 4"
        assert reached("ArrowUp", "ArrowLeft", "ArrowDown") == "layer.2, head 0"

    def test_a_head_stands_under_its_number(self, opened: Open) -> None:
        made = a_panel(layers=1)
        page = opened(replace(made, charts=[made.charts[0], made.charts[2]]))
        assert page.page.locator(".grid tbody tr > *").count() == 4
        assert page.page.locator(".grid tbody td >> nth=1").locator("button").count() == 0

    def test_small_pictures_are_mirrored_as_the_large_one(self, opened: Open) -> None:
        def tile(side: Side) -> np.ndarray:
            page = opened(a_panel(side=side, mask=Causal()))
            page.page.evaluate("document.activeElement.blur()")
            shot = page.page.locator(".tile canvas >> nth=2").screenshot()
            return np.asarray(Image.open(io.BytesIO(shot)).convert("L")).astype(int)

        latin, arabic = tile(a_side(13)), tile(Side(tokens=["قدماي"] * 13))
        assert np.abs(latin - arabic[:, ::-1]).mean() < 3 < np.abs(latin - arabic).mean()

    def test_layers_are_called_by_what_tells_them_apart(self, opened: Open) -> None:
        names = [f"encoder.layer.{i}.attention.self" for i in range(3)]
        page = opened(panel({name: [a_call(13, 13)] for name in names}, a_side(13)))
        assert page.texts(".grid tbody th") == ["layer.0", "layer.1", "layer.2"]

    def test_panels_can_be_changed(self, opened: Open) -> None:
        page = opened(a_panel(), a_panel(7, name="decoder"))
        page.page.click("text=decoder")
        page.page.wait_for_selector(".rows .token >> nth=7", state="detached")
        assert page.page.locator(".rows .token").count() == 7

    def test_the_arrows_change_panels_and_tab_reaches_the_one_that_is_open(self, opened: Open) -> None:
        page = opened(a_panel(), a_panel(7, name="decoder"), a_panel(5, name="cross"))
        tabs = page.page.locator("[role=tab]")
        tabs.nth(0).focus()
        for key, place, length in (("ArrowRight", 1, 7), ("End", 2, 5), ("ArrowLeft", 1, 7), ("Home", 0, 13)):
            page.press(key)
            page.page.wait_for_selector(f".rows .tokens > :last-child:nth-child({length})")
            assert page.page.evaluate("document.activeElement.id") == tabs.nth(place).get_attribute("id")
            assert [tab.get_attribute("tabindex") for tab in tabs.all()].index("0") == place
            assert [tab.get_attribute("aria-selected") for tab in tabs.all()].index("true") == place
            sheet = page.page.locator("[role=tabpanel]")
            assert sheet.get_attribute("aria-labelledby") == tabs.nth(place).get_attribute("id")
            assert sheet.get_attribute("id") == tabs.nth(place).get_attribute("aria-controls")

    def test_panels_changed_faster_than_they_open_show_the_last(self, opened: Open) -> None:
        page = opened(a_panel(), a_panel(7, name="decoder"), a_panel(5, name="cross"))
        page.page.evaluate("for (const place of [1, 2, 0, 2]) document.querySelectorAll('[role=tab]')[place].click()")
        page.page.wait_for_selector(".rows .tokens > :last-child:nth-child(5)")
        page.page.wait_for_timeout(300)
        assert page.page.locator(".rows .token").count() == 5
        assert page.page.locator("[aria-selected=true]").inner_text() == "cross"


class TestTokens:
    def test_a_key_shows_who_used_it(self, opened: Open) -> None:
        page = opened(a_panel())
        page.page.hover(".columns .token >> nth=3")
        weights = reference.weights(a_call(13, 13))[0, 0, :, 3]
        assert page.texts(".readout .item")[0] == strongest(weights)
        assert page.text(".readout").startswith("word3 (3) → ")

    def test_lines_join_a_token_and_what_it_used(self, opened: Open) -> None:
        page = opened(a_panel())
        assert page.page.locator(".lines path").count() == 0
        page.page.hover(".rows .token >> nth=5")
        assert page.page.locator(".lines path").count() > 3

    def test_a_click_holds_and_escape_lets_go(self, opened: Open) -> None:
        page = opened(a_panel())
        page.page.click(".rows .token >> nth=5")
        page.page.hover("h1")
        assert page.text(".readout").startswith("word5 (5) ←")
        page.press("Escape")
        assert page.text(".readout") == ""

    def test_whole_words_sum_keys_and_average_queries(self, opened: Open) -> None:
        page = opened(a_panel())
        page.page.click("text=whole words")
        assert page.texts(".rows .token")[:2] == ["word0word1", "word2word3"]
        page.page.hover(".rows .token >> nth=1")
        weights = reference.weights(a_call(13, 13))[0, 0]
        merged = torch.stack([weights[2:4, i : i + 2].sum(1).mean() for i in range(0, 13, 2)])
        assert page.texts(".readout .item")[0].endswith(f"{merged.max():.3f}")

    def test_a_word_is_written_as_it_is_spelled_where_its_tokens_are_pieces_of_a_character(self, opened: Open) -> None:
        tokens = ["<0xE6><0x97>", "<0xA5>", *(f"▁w{i}" for i in range(11))]
        side = Side(tokens=tokens, words=[0, 0, *(1 + i // 2 for i in range(11))], spelled=["日", *[""] * 6])
        page = opened(a_panel(side=side))
        assert page.texts(".rows .token")[:3] == ["<0xE6><0x97>", "<0xA5>", "▁w0"]
        page.page.click("text=whole words")
        assert page.texts(".rows .token")[:2] == ["日", "w0▁w1"]

    def test_tokens_from_right_to_left_begin_at_the_right_and_so_does_the_map(self, opened: Open) -> None:
        side = Side(tokens=["قدماي", "تؤلمانني", *(f"كلمة{i}" for i in range(11))])
        page = opened(a_panel(side=side))
        first, second = (page.page.locator(f".rows .token >> nth={i}").bounding_box()["x"] for i in (0, 1))
        assert first > second
        box = page.page.locator(".viewer canvas").bounding_box()
        page.page.mouse.move(box["x"] + box["width"] - 60, box["y"] + 95)
        assert page.text(".readout").startswith("قدماي (0) ← قدماي (0)")
        page.page.focus(".viewer canvas")
        page.press("ArrowLeft")
        assert page.text(".readout").startswith("قدماي (0) ← تؤلمانني (1)")

    def test_hostile_words_stay_words(self, opened: Open) -> None:
        count = len(HOSTILE)
        page = opened(a_panel(count, layers=1, side=Side(tokens=HOSTILE)))
        for place in range(0, count, 7):
            page.page.hover(f".rows .token >> nth={place}")
        assert page.page.evaluate("window.fired") is None
        assert page.page.locator("iframe, img, form, object, link[rel=stylesheet]").count() == 0

    def test_nothing_moves_away_from_under_the_pointer(self, opened: Open) -> None:
        side = Side(tokens=["a" * 400, "b" * 90, *(f"word{i}" * 5 for i in range(11))])
        page = opened(a_panel(side=side))
        places = """[...document.querySelectorAll('.token, .viewer')].map(one => {
            const box = one.getBoundingClientRect(); return [box.x, box.y + scrollY, box.width, box.height]; })"""
        before = page.page.evaluate(places)
        for selector in (".rows .token >> nth=1", ".columns .token >> nth=7", ".viewer canvas"):
            page.page.hover(selector)
            assert page.page.evaluate(places) == before


class TestMap:
    def test_the_arrows_walk_the_map_and_speak_its_weights(self, opened: Open) -> None:
        page = opened(a_panel())
        page.page.focus(".viewer canvas")
        page.press("ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight")
        weight = float(reference.weights(a_call(13, 13))[0, 0, 1, 3])
        assert page.text(".readout") == f"word1 (1) ← word3 (3) {weight:.3f}"
        page.press("End", "PageDown")
        assert page.text(".readout").startswith("word12 (12) ← word12 (12)")

    def test_what_was_left_out_is_told(self, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(atlas, "KEPT", 2)
        made = a_panel()
        dropped = made.charts[0].dropped
        assert dropped is not None
        page = opened(made)
        told = page.text(".told")
        assert (
            f"Left out are the others, with {dropped[0]:.3f} of a query's weight on average and {dropped[1]:.3f}"
            in told
        )
        page.page.hover(".rows .token >> nth=5")
        assert page.text(".readout").count("about") == 6

    @pytest.mark.parametrize("normalizer", [Sigmoid(), SinkSoftmax(3), Softmax()])
    def test_what_was_left_out_is_estimated_for_rows_of_any_sum(self, opened: Open, normalizer: Normalizer) -> None:
        call = a_call(131, 131, normalizer=normalizer)
        weights = reference.weights(call)[0, 0, 5].detach()
        side = Side(tokens=a_side(131).tokens, words=[0] * 131)  # one word: the sum of a row
        page = opened(panel({"a": [call]}, side))
        place = int(weights.argsort(descending=True)[20])
        page.page.focus(".viewer canvas")
        page.press(*["ArrowDown"] * 6, *["ArrowRight"] * place)
        told = page.text(".readout").split()
        assert told[:5] == ["word5", "(5)", "←", f"word{place}", f"({place})"]
        assert told[5] == "about"
        assert 0 < float(told[6]) <= float(weights.sort(descending=True).values[15]) + 1e-3
        page.page.click("text=whole words")
        page.page.hover(".rows .token")
        total = float(reference.weights(call)[0, 0].detach().sum(dim=-1).mean())
        assert float(page.texts(".readout .item")[0].split()[-1]) == pytest.approx(total, rel=0.02)

    @pytest.mark.parametrize("long", [11, 1024])
    @pytest.mark.parametrize("mask", [Causal(), TensorMask(torch.arange(131)[None] % 3 != 1)])
    def test_what_a_mask_hides_has_no_weight(
        self, opened: Open, monkeypatch: pytest.MonkeyPatch, long: int, mask: Mask
    ) -> None:
        monkeypatch.setattr(atlas, "LONG", long)
        monkeypatch.setattr(atlas, "TILES_OF_LONG", 13)
        call = a_call(131, 131, mask=mask)
        page = opened(panel({"a": [call]}, a_side(131), exact=[]))
        page.page.focus(".viewer canvas")
        page.press(*["ArrowDown"] * 40, *["ArrowRight"] * 40)
        assert page.text(".readout").startswith("word39 (39) ← word40 (40) ")
        assert page.text(".readout").split()[-2:] == ["(40)", "0.000"]

    def test_the_first_key_keeps_its_weight_while_a_cache_grows(self, opened: Open) -> None:
        whole = a_call(31, 31, mask=Causal())
        first = whole._replace(query=whole.query[:, :, :5], key=whole.key[:, :, :5], value=whole.value[:, :, :5])
        rest = whole._replace(query=whole.query[:, :, 5:], offset=5)
        page = opened(panel({"a": [first, rest]}, a_side(31)))
        page.page.focus(".viewer canvas")
        page.press("ArrowDown", "ArrowDown")
        weight = float(reference.weights(whole)[0, 0, 1, 0])
        assert page.text(".readout") == f"word1 (1) ← word0 (0) {weight:.3f}"

    def test_exact_heads_compute_the_weights_that_python_told(
        self, opened: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(atlas, "LONG", 11)
        call = a_call(61, 61, mask=Causal())
        page = opened(panel({"a": [call]}, a_side(61), exact=[("a", 1)]))
        assert page.text("h2") == "a, head 1"
        page.page.hover(".rows .token >> nth=40")
        weights = reference.weights(call)[0, 1, 40]
        place = int(weights.argmax())
        name, number = page.texts(".readout .item")[0].split()
        assert name == f"word{place}"
        assert float(number) == pytest.approx(float(weights[place]), abs=0.02)
        page.page.click("[aria-label='a, head 0']")
        page.page.wait_for_selector("h2:text-is('a, head 0')")
        assert "Only the means of blocks of 1 × 1 were kept" in page.text(".told")


@pytest.mark.slow
class TestSize:
    """The sizes that the page is built for; its speed is measured by benchmarks/pages.py."""

    def test_12_by_12_heads_at_512_tokens_take_less_than_10_megabytes(self, opened: Open, tmp_path: Path) -> None:
        sites = {f"layer.{place}": [a_call(512, 512, heads=12, seed=place)] for place in range(12)}
        page = opened(panel(sites, a_side(512, words=True)))
        assert (tmp_path / "atlas.html").stat().st_size < 10e6
        assert page.page.locator(".tile").count() == 144
        page.page.hover(".rows .token >> nth=300")
        assert page.texts(".readout .item")[0] == strongest(reference.weights(a_call(512, 512, heads=12))[0, 0, 300])

    def test_8192_tokens_pan_and_zoom(self, opened: Open, tmp_path: Path) -> None:
        call = a_call(8192, 8192, heads=1, mask=Causal())
        page = opened(panel({"a": [call]}, a_side(8192)))
        assert (tmp_path / "atlas.html").stat().st_size < 1e6 + 8192 * (2 * 11 + 12) * 4 / 3
        page.page.focus(".viewer canvas")
        box = page.page.locator(".viewer canvas").bounding_box()
        for zooms in (4, 3, 3):  # at 8, 2 and less than 1 weights a pixel
            page.press(*["+"] * zooms)
            page.page.mouse.move(box["x"] + 450, box["y"] + 450)
            before = page.text(".readout")
            page.page.mouse.down()
            for step in range(60):
                page.page.mouse.move(box["x"] + 450 - 6 * step, box["y"] + 450 - 5 * step)
            page.page.mouse.up()
            page.page.mouse.move(box["x"] + 450, box["y"] + 450)
            assert page.text(".readout").startswith("word")
            assert page.text(".readout") != before


class TestPicture:
    def test_pointing_at_a_patch_shades_the_other_picture(self, opened: Open) -> None:
        page = opened(a_panel(7, side=a_picture()))
        page.page.locator(".rows .picture").scroll_into_view_if_needed()
        box = page.page.locator(".rows .picture canvas").bounding_box()
        page.page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.9)
        assert page.text(".readout").startswith("1,2 (6) ←")
        page.page.focus(".columns .picture canvas")
        page.press("ArrowRight")
        assert page.text(".readout").startswith("0,1 (2) →")


class TestLook:
    @pytest.mark.parametrize("width", [360, 800, 1920])
    def test_no_width_makes_the_page_scroll_sideways(self, opened: Open, width: int) -> None:
        side = Side(tokens=["a" * 300, "日本" * 90, *(f"x{i}" for i in range(11))])
        page = opened(a_panel(side=side, name="n" * 200), a_panel(7, side=a_picture()), width=width)
        assert page.page.evaluate("document.documentElement.scrollWidth") == width

    @pytest.mark.parametrize("word", ["أنطونيوباكستان", "w" * 40], ids=["from right to left", "from left to right"])
    def test_slanted_words_of_the_last_column_are_not_cut_off(self, opened: Open, word: str) -> None:
        page = opened(a_panel(side=Side(tokens=[word] * 13)))
        drawn = """(() => { const canvas = document.querySelector('.viewer canvas');
            const edge = canvas.getContext('2d').getImageData(canvas.width - 2, 0, 2, canvas.height).data;
            return edge.some((value, place) => place % 4 === 3 && value > 0); })()"""
        assert page.page.evaluate(drawn) is False

    def test_the_footer_keeps_its_distance(self, opened: Open) -> None:
        assert (
            opened(a_panel()).page.evaluate("parseFloat(getComputedStyle(document.querySelector('footer')).marginTop)")
            > 20
        )

    def test_dark_and_light_are_those_of_the_system(self, opened: Open) -> None:
        background = "getComputedStyle(document.querySelector('#atlas')).backgroundColor"
        page = opened(a_panel(), color_scheme="light")
        assert page.page.evaluate(background) == "rgb(251, 250, 247)"
        page.page.emulate_media(color_scheme="dark")
        assert page.page.evaluate(background) == "rgb(15, 19, 26)"


class TestNotebook:
    def test_the_widget_draws_the_same_in_an_element_that_it_is_given(self, chromium: Any) -> None:
        packed = pack([a_panel()], title="Atlas")
        page = chromium.new_page()
        page.route("**/*", lambda route: answer(route))
        page.goto("http://notebook.test/")
        page.add_style_tag(content=part("atlas.css"))
        page.evaluate(
            """async ([header, pieces]) => {
                const { default: widget } = await import("/widget.js");
                const view = new DataView(Uint8Array.from(pieces).buffer);
                const model = { get: (name) => (name === "header" ? JSON.parse(header) : view) };
                window.close_widget = widget.render({ model, el: document.body });
            }""",
            [json.dumps(packed.header), list(packed.pieces)],
        )
        page.wait_for_selector("[data-ready]", timeout=20_000)
        page.hover(".rows .token >> nth=5")
        assert page.locator(".readout .item").count() > 3
        page.evaluate("window.close_widget()")
        assert page.locator(".viewer").count() == 0
        page.close()


def answer(route: Any) -> None:
    if route.request.url.endswith("widget.js"):
        route.fulfill(content_type="text/javascript", body=part("atlas-widget.js"))
    else:
        route.fulfill(content_type="text/html", body="<!doctype html><title>x</title><body></body>")
