// The atlas: choose a panel, a layer and a head; see its map, its tokens, and what is exact and what was left out.

import { make, ramp, shown, walk } from "./elements";
import { grid } from "./grid";
import { DenseMap, mapOf, type HeadMap } from "./maps";
import { Picture } from "./patches";
import type { Panel, Payload, Side } from "./payload";
import { Viewer } from "./viewer";
import { Words, lines, strongest, wordsOf, type Which } from "./words";

const LISTED = 8;

interface Focus {
  which: Which;
  place: number;
}

let atlases = 0; // a notebook may show several

class Atlas {
  private readonly viewer = new Viewer((row, column) => this.pointCell(row, column), (row) => this.hold({ which: "rows", place: row }));
  private readonly rows = new Words("rows", (place) => this.point("rows", place), (place) => this.hold({ which: "rows", place }));
  private readonly columns = new Words("columns", (place) => this.point("columns", place), (place) => this.hold({ which: "columns", place }));
  private readonly svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  private readonly readout = make("p", { class: "readout", role: "status", "aria-live": "polite" });
  private readonly told = make("p", { class: "quiet told" });
  private readonly name = make("h2", { dir: "auto" });
  private readonly heads = make("div", { class: "heads" });
  private readonly merging = make("input", { type: "checkbox", id: "regard-words" });
  private readonly texts: HTMLElement;
  private readonly id = `regard-atlas-${++atlases}`;
  private readonly sheet = make("div", { id: this.id });
  private readonly tabs: HTMLElement[];
  private pictures: Partial<Record<Which, Picture>> = {};
  private panel!: Panel;
  private means!: Uint8Array;
  private tokens!: HeadMap;
  private map!: HeadMap;
  private names: Record<Which, string[]> = { rows: [], columns: [] };
  private held: Focus | null = null;
  private chosen = 0;
  private readonly closing = new AbortController();

  constructor(private readonly root: HTMLElement, private readonly payload: Payload) {
    this.svg.setAttribute("class", "lines");
    this.svg.setAttribute("aria-hidden", "true");
    this.texts = make("div", { class: "texts" });
    this.texts.append(this.svg as unknown as HTMLElement, this.rows.element, this.columns.element);
    const { header } = payload;
    const toggle = make("label", { class: "toggle" }, this.merging, " whole words");
    this.merging.onchange = () => this.useMap();
    const panels = make("div", { class: "panels", role: "tablist", "aria-label": "Panels" });
    this.tabs = header.panels.map((panel, place) => {
      const tab = make("button", { type: "button", role: "tab", id: `${this.id}-tab-${place}`, "aria-controls": this.id }, panel.name || `panel ${place}`);
      tab.onfocus = tab.onclick = () => this.panel !== panel && void this.open(place);
      return tab;
    });
    panels.append(...this.tabs);
    walk(panels, [this.tabs]);
    panels.hidden = header.panels.length < 2;
    if (!panels.hidden) this.sheet.setAttribute("role", "tabpanel");
    this.sheet.append(
      make("div", { class: "parts" },
        make("section", { class: "all" }, make("h3", {}, "Layers and heads"), this.heads),
        make("section", { class: "one" }, this.name, this.told, this.viewer.element),
      ),
      make("div", { class: "bar" }, this.readout, toggle),
      this.texts,
    );
    root.replaceChildren(
      make("header", {}, make("h1", { dir: "auto" }, header.title), panels),
      this.sheet,
      make("footer", { class: "quiet" },
        "Point at a weight or a token, click to hold it, Escape to let go. In the map: drag to move, plus and minus or the wheel to zoom, ",
        "0 for all of it; arrow keys move everywhere. This page is whole: it asks no other computer for anything. Made by regard."),
    );
    const listen = { signal: this.closing.signal };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolor(), listen);
    root.addEventListener("keydown", (event) => event.key === "Escape" && this.hold(null), listen);
    for (const side of [this.rows, this.columns]) side.onscroll(() => this.drawLines());
    addEventListener("resize", () => this.drawLines(), listen);
  }

  close(): void {
    this.closing.abort();
    this.root.replaceChildren();
  }

  async open(place: number): Promise<void> {
    const panel = (this.panel = this.payload.header.panels[place]);
    this.tabs.forEach((tab, at) => tab.setAttribute("aria-selected", String(at === place)));
    if (this.tabs.length > 1) this.sheet.setAttribute("aria-labelledby", this.tabs[place].id);
    const means = new Uint8Array(await this.payload.piece(panel.means));
    if (this.panel !== panel) return; // another was opened meanwhile
    this.means = means;
    const { charts } = this.panel;
    const first = Math.max(charts.indexOf((charts.find((chart) => chart.belief) ?? charts.find((chart) => chart.exact))!), 0);
    const worded = this.panel.rows.words || this.columnSide.words;
    const long = this.panel.charts.every((chart) => !chart.keys);
    this.merging.checked = false;
    this.merging.disabled = !worded || long;
    this.merging.parentElement!.title = long ? "Whole words are for texts whose strongest keys are kept." : worded ? "" : "Nobody said which tokens make a word.";
    await this.makePictures();
    if (this.panel !== panel) return;
    await this.choose(first);
    if (this.panel === panel) this.recolor();
  }

  private get columnSide(): Side {
    return this.panel.columns ?? this.panel.rows;
  }

  private async makePictures(): Promise<void> {
    this.pictures = {};
    this.texts.querySelectorAll(".picture").forEach((old) => old.remove());
    for (const [which, side, words] of [["rows", this.panel.rows, this.rows], ["columns", this.columnSide, this.columns]] as const) {
      words.element.classList.toggle("pictured", side.patches !== null);
      if (!side.patches) continue;
      const { panel } = this;
      const pixels = new Uint8Array(await this.payload.piece(side.patches.pixels));
      if (this.panel !== panel) return;
      const picture = new Picture(which === "rows" ? "Queries" : "Keys", side.patches, pixels,
        (token) => this.point(which, token), (token) => this.hold({ which, place: token }));
      this.pictures[which] = picture;
      words.element.querySelector("h3")!.after(picture.element);
    }
  }

  private async choose(place: number): Promise<void> {
    this.chosen = place;
    const { panel } = this;
    const chart = panel.charts[place];
    const map = await mapOf(this.payload, panel, chart, this.means);
    if (this.chosen !== place || this.panel !== panel) return; // another was chosen meanwhile
    this.tokens = map;
    this.name.textContent = `${this.panel.layers[chart.layer]}, head ${chart.head}`;
    this.told.replaceChildren(this.tell());
    if (chart.belief) this.told.append(make("br"), chart.belief);
    this.useMap();
  }

  /** What of this head is exact, and what was left out. */
  private tell(): string {
    const chart = this.panel.charts[this.chosen];
    const size = `${this.panel.rows.tokens.length} × ${this.columnSide.tokens.length} weights. `;
    if (chart.exact)
      return `${size}Every weight is computed here from query and key in 8 bits: at most ${shown(chart.exact.error)} off on 64 queries.`;
    if (!chart.kept)
      return `${size}Only the means of blocks of ${this.panel.block.join(" × ")} were kept; framed heads are known exactly. ${this.panel.refused.join(" ")}`;
    const [usual, most] = chart.dropped!;
    if (most < 5e-4) return `${size}The ${chart.kept} strongest keys of each query are all there is to them.`;
    return `${size}The ${chart.kept} strongest keys of each query are exact to five decimals. Left out are the others, with ${shown(usual)} of a query's weight on average and ${shown(most)} at most: in their place stand means of blocks, with “about”.`;
  }

  /** Show the tokens' map, or that of the words. */
  private useMap(): void {
    const focus = this.held;
    if (this.merging.checked && this.tokens instanceof DenseMap) {
      const [rows, columns] = [wordsOf(this.panel.rows), wordsOf(this.columnSide)];
      this.map = this.tokens.merged(rows.members, columns.members);
      this.names = { rows: rows.names, columns: columns.names };
    } else {
      this.map = this.tokens;
      this.names = { rows: this.panel.rows.tokens, columns: this.columnSide.tokens };
    }
    const same = this.rows.items.length > 0 && this.shownNames?.rows === this.names.rows && this.shownNames.columns === this.names.columns;
    if (!same) {
      this.held = null;
      this.rows.show(this.names.rows, this.panel.rows.rtl, this.joins(this.panel.rows));
      this.columns.show(this.names.columns, this.columnSide.rtl, this.joins(this.columnSide));
    }
    this.shownNames = this.names;
    this.root.dataset.words = String(this.merging.checked);
    this.viewer.show({ map: this.map, rows: this.names.rows, columns: this.names.columns, mirrored: this.columnSide.rtl }, ramp(this.root));
    this.focus(same ? focus : null);
  }

  private shownNames: Record<Which, string[]> | null = null;

  /** Whether a token goes on with the word of the one before. */
  private joins(side: Side): (place: number) => boolean {
    const words = this.merging.checked ? null : side.words;
    return (place) => place > 0 && words !== null && words[place] >= 0 && words[place] === words[place - 1];
  }

  private recolor(): void {
    const colors = ramp(this.root);
    this.heads.replaceChildren(grid(this.panel, this.means, colors, this.chosen, (place) => void this.choose(place)));
    this.viewer.show({ map: this.map, rows: this.names.rows, columns: this.names.columns, mirrored: this.columnSide.rtl }, colors);
  }

  private point(which: Which, place: number | null): void {
    this.focus(place === null ? this.held : { which, place });
  }

  private hold(focus: Focus | null): void {
    const same = focus && this.held?.which === focus.which && this.held.place === focus.place;
    this.held = same ? null : focus;
    this.focus(this.held);
  }

  private pointCell(row: number | null, column: number | null): void {
    if (row === null || column === null) return this.focus(this.held);
    this.focus({ which: "rows", place: row }, column);
  }

  private focused: Focus | null = null;
  private weights: ArrayLike<number> | null = null;

  /** Shade both sides for a token, or for nothing; with a column, speak of that one weight. */
  private focus(focus: Focus | null, column: number | null = null): void {
    this.focused = focus;
    this.weights = focus && (focus.which === "rows" ? this.map.row(focus.place) : this.map.column(focus.place));
    const [from, to] = focus?.which === "columns" ? [this.columns, this.rows] : [this.rows, this.columns];
    if (focus && !from.element.matches(":hover")) from.reach(focus.place);
    if (focus && this.weights) to.reach(column ?? strongest(this.weights, 1)[0] ?? 0);
    from.shade(null, focus?.place ?? null);
    to.shade(this.weights, column);
    this.pictures[from.which]?.shade(null, focus?.place ?? null);
    this.pictures[to.which]?.shade(this.weights, column);
    if (!focus) this.viewer.point(null, null);
    else if (column === null) this.viewer.point(focus.which === "rows" ? focus.place : 0, focus.which === "rows" ? strongest(this.weights ?? [], 1)[0] ?? 0 : focus.place);
    this.speak(focus, column);
    this.drawLines();
  }

  private drawLines(): void {
    const back = this.focused?.which === "columns";
    const [from, to] = back ? [this.columns, this.rows] : [this.rows, this.columns];
    lines(this.svg, from, this.focused?.place ?? null, to, this.weights);
  }

  private speak(focus: Focus | null, column: number | null): void {
    this.readout.replaceChildren();
    if (!focus) return;
    const word = (which: Which, place: number) => make("bdi", { class: "word" }, this.names[which][place]);
    const amount = (row: number, at: number) => {
      const { value, exact } = this.map.weight(row, at);
      return `${exact ? "" : "about "}${shown(value)}`;
    };
    if (column !== null) {
      this.readout.append(word("rows", focus.place), make("span", { class: "quiet" }, ` (${focus.place}) ← `), word("columns", column), make("span", { class: "quiet" }, ` (${column}) `), amount(focus.place, column));
      return;
    }
    const back = focus.which === "columns";
    this.readout.append(word(focus.which, focus.place), make("span", { class: "quiet" }, ` (${focus.place}) ${back ? "→" : "←"} `));
    if (!this.weights) return void this.readout.append("only means of blocks are known here");
    for (const other of strongest(this.weights, LISTED)) {
      const value = back ? amount(other, focus.place) : amount(focus.place, other);
      this.readout.append(make("span", { class: "item" }, word(back ? "rows" : "columns", other), ` ${value}`));
    }
  }
}

/** Show an atlas in an element; the answer takes it away again. */
export async function mount(root: HTMLElement, payload: Payload): Promise<() => void> {
  const atlas = new Atlas(root, payload);
  await atlas.open(0);
  root.dataset.ready = "true";
  return () => atlas.close();
}
