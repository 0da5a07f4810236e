"""Measure the page of all heads: how long it takes to make, how large it is, how fast it opens and pans.

    python benchmarks/pages.py [--lengths 512 8192] [--layers 12] [--heads 12] [--threads 2] [--figures FILE]

BERT-base with random weights and positions enlarged, run under the lens, as in benchmarks/lens.py; making the page is
timed from the end of the forward. Opening is from the address to the first picture, and panning counts the frames of
the browser while the map is dragged at three zooms (the page asks for one a refresh, so 60 is the most). Without
Chromium or playwright only size and time are measured.

Seen before (BertViz 1.4.1, head view, 12 x 12 heads, 512 tokens): 1,710 MB and 30 s.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from figures import Figure, add_option, load_average, machine, save, show

import regard
from regard.inspection.pictures.atlas import LONG, Side, panel
from regard.inspection.pictures.atlas_page import write_atlas

MOST_MEGABYTES = {"short": 10.0, "long": 30.0}
MOST_SECONDS = 5.0
MOST_OPENING = 1.0
LEAST_FRAMES = 30.0
PANS = 60


def watched(length: int, layers: int, heads: int) -> Any:
    """Run one text through BERT under the lens."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes = {"num_hidden_layers": layers, "num_attention_heads": heads, "hidden_size": 64 * heads}
    config = BertConfig(max_position_embeddings=length, initializer_range=0.06, **sizes)
    model = BertModel(config).eval()
    ids = torch.randint(1000, 30000, (1, length))
    with torch.no_grad(), regard.lens(model, keep="copy") as lens:
        model(ids)
    return lens


def made(length: int, options: argparse.Namespace, path: Path) -> Iterator[Figure]:
    """Make a page and tell its time and size."""
    lens = watched(length, options.layers, options.heads)
    side = Side(tokens=[f"token{place}" for place in range(length)], words=list(range(length)))
    started = time.perf_counter()
    write_atlas(path, [panel(lens, side)], title=f"{length} tokens")
    took, size = time.perf_counter() - started, path.stat().st_size / 1e6
    kind = "long" if length > LONG else "short"
    work = f"{options.layers} x {options.heads} heads, {length} tokens"
    yield Figure(f"{work}, made", f"{took:.1f} s", took, MOST_SECONDS if kind == "short" else None, "s")
    yield Figure(f"{work}, size", f"{size:.1f} MB", size, MOST_MEGABYTES[kind], "MB")


def opened(browser: Any, length: int, path: Path) -> Iterator[Figure]:
    """Open a page, then drag its map at three zooms."""
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.goto(path.as_uri())
    page.wait_for_selector("[data-ready]")
    opening = page.evaluate("performance.now()") / 1000
    bar = MOST_OPENING if length <= LONG else None
    yield Figure(f"{length} tokens, opened", f"{opening:.2f} s", opening, bar, "s")
    page.focus(".viewer canvas")
    box = page.locator(".viewer canvas").bounding_box()
    rates = []
    for zooms in (3, 3, 4):
        for _ in range(zooms):
            page.keyboard.press("+")
        page.evaluate(
            "window.seen = 0; (function count() { window.seen++; window.on = requestAnimationFrame(count); })()"
        )
        page.mouse.move(box["x"] + 450, box["y"] + 450)
        page.mouse.down()
        started = time.perf_counter()
        for step in range(PANS):
            page.mouse.move(box["x"] + 450 - 6 * step, box["y"] + 450 - 5 * step)
        page.mouse.up()
        rates.append(page.evaluate("(cancelAnimationFrame(window.on), window.seen)") / (time.perf_counter() - started))
    words = "frames a second at three zooms: " + ", ".join(f"{rate:.0f}" for rate in rates)
    yield Figure(f"{length} tokens, panned", words, min(rates), LEAST_FRAMES, "x")
    page.close()


def browsed(lengths: list[int], folder: Path) -> Iterator[Figure]:
    """Open every page that was made, where there is a browser."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        print("No Chromium or no playwright: opening and panning are not measured.")
        return
    with sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        for length in lengths:
            yield from opened(browser, length, folder / f"{length}.html")
        browser.close()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 8192])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    add_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine(options.threads), load_average(), sep="\n")
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for length in options.lengths:
            found += made(length, options, Path(folder) / f"{length}.html")
        found += browsed(options.lengths, Path(folder))
    show(found)
    save(found, options.figures)


if __name__ == "__main__":
    main()
