// The tokens of both sides: choose one, and those that it used (or that used it) are shaded and joined by lines.

import { make, shown, walk } from "./elements";
import type { Side } from "./payload";

const WINDOW = 600; // tokens that stand on the page at once
const LINES = 14;
const EAST_ASIAN = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u;

export type Which = "rows" | "columns";

/** One side's tokens, or as many of them as can be read at once. */
export class Words {
  readonly element: HTMLElement;
  private readonly list = make("div", { class: "tokens", role: "group" });
  private readonly where = make("p", { class: "quiet" });
  private readonly titled = make("h3");
  private names: string[] = [];
  private start = 0;
  private active: number | null = null;
  private weights: ArrayLike<number> | null = null;
  private joins: (place: number) => boolean = () => false;
  private rtl = false;
  items: HTMLElement[] = [];

  constructor(
    readonly which: Which, private readonly pointed: (place: number | null) => void,
    private readonly chosen: (place: number) => void,
  ) {
    this.element = make("section", { class: `side ${which}` }, this.titled, this.list, this.where);
    this.titled.textContent = which === "rows" ? "Queries: who looks" : "Keys: what is looked at";
    this.list.setAttribute("aria-label", this.titled.textContent);
    this.list.onpointerleave = () => this.pointed(null);
  }

  show(names: string[], rtl: boolean, joins: (place: number) => boolean): void {
    Object.assign(this, { names, rtl, joins, start: 0, active: null, weights: null });
    this.build();
  }

  /** Bring a token to where it can be seen, without moving the page. */
  reach(place: number): void {
    if (this.names.length > WINDOW && (place < this.start || place >= this.start + WINDOW)) {
      this.start = Math.max(0, Math.min(place - WINDOW / 2, this.names.length - WINDOW));
      this.build();
    }
    const [box, frame] = [this.at(place)!.getBoundingClientRect(), this.list.getBoundingClientRect()];
    if (box.top >= frame.top && box.bottom <= frame.bottom) return;
    this.list.scrollTop += box.top - frame.top - this.list.clientHeight / 2;
  }

  /** Shade tokens by weights of which the largest is `most`, and mark one. */
  shade(weights: ArrayLike<number> | null, active: number | null): void {
    this.weights = weights;
    this.active = active;
    let most = 0;
    if (weights) for (let place = 0; place < weights.length; place++) most = Math.max(most, weights[place]);
    this.items.forEach((item, at) => {
      const weight = weights ? weights[this.start + at] : 0;
      const share = most > 0 ? weight / most : 0;
      item.style.setProperty("--w", share.toFixed(3));
      item.classList.toggle("strong", share > 0.5);
      item.classList.toggle("active", this.start + at === active);
      item.title = weights ? shown(weight) : "";
    });
  }

  at(place: number): HTMLElement | null {
    return this.items[place - this.start] ?? null;
  }

  /** Whether a token can be seen, and not only its list. */
  visible(place: number): boolean {
    const item = this.at(place);
    if (!item) return false;
    const [box, frame] = [item.getBoundingClientRect(), this.list.getBoundingClientRect()];
    return box.bottom > frame.top + 4 && box.top < frame.bottom - 4;
  }

  onscroll(act: () => void): void {
    this.list.addEventListener("scroll", act);
  }

  private build(): void {
    const end = Math.min(this.names.length, this.start + WINDOW);
    this.list.dir = this.rtl ? "rtl" : "ltr";
    this.list.replaceChildren();
    this.items = this.names.slice(this.start, end).map((name, at) => {
      const place = this.start + at;
      const tight = this.joins(place) || EAST_ASIAN.test(name);
      const item = make("button", { type: "button", class: `token${tight ? " tight" : ""}` }, make("bdi", {}, name));
      item.onpointerenter = () => this.pointed(place);
      item.onfocus = () => this.pointed(place);
      item.onclick = () => this.chosen(place);
      return item;
    });
    this.list.append(...this.items);
    walk(this.list, [this.items], this.items[Math.max(0, Math.min((this.active ?? 0) - this.start, this.items.length - 1))]);
    const all = this.items.length === this.names.length;
    this.where.textContent = all ? "" : `Tokens ${this.start} to ${end - 1} of ${this.names.length}.`;
    if (!all) this.where.append(this.turn("earlier", -WINDOW / 2), this.turn("later", WINDOW / 2));
    this.shade(this.weights, this.active);
  }

  private turn(name: string, by: number): HTMLElement {
    const made = make("button", { type: "button", class: "turn" }, name);
    made.disabled = by < 0 ? this.start === 0 : this.start + WINDOW >= this.names.length;
    made.onclick = () => {
      this.start = Math.max(0, Math.min(this.start + by, this.names.length - WINDOW));
      this.build();
    };
    return made;
  }
}

/** The strongest places of a row, strongest first. */
export function strongest(weights: ArrayLike<number>, count: number): number[] {
  const places: number[] = [];
  for (let place = 0; place < weights.length; place++) {
    if (weights[place] <= 0 || (places.length === count && weights[place] <= weights[places[count - 1]])) continue;
    let at = places.length;
    while (at > 0 && weights[places[at - 1]] < weights[place]) at--;
    places.splice(at, 0, place);
    if (places.length > count) places.pop();
  }
  return places;
}

/** Lines from a token to those with the largest weights, where both can be seen. */
export function lines(svg: SVGSVGElement, from: Words, place: number | null, to: Words, weights: ArrayLike<number> | null): void {
  svg.replaceChildren();
  if (place === null || !weights || !from.visible(place)) return;
  const frame = svg.getBoundingClientRect();
  const edge = (item: HTMLElement, below: boolean) => {
    const box = item.getBoundingClientRect();
    return [box.left + box.width / 2 - frame.left, (below ? box.bottom : box.top) - frame.top];
  };
  const best = strongest(weights, LINES);
  const down = from.which === "rows"; // queries stand above keys
  const [x, y] = edge(from.at(place)!, down);
  for (const other of best) {
    if (!to.visible(other)) continue;
    const [left, top] = edge(to.at(other)!, !down);
    const middle = (y + top) / 2;
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", `M${x} ${y}C${x} ${middle} ${left} ${middle} ${left} ${top}`);
    path.style.strokeWidth = `${(1 + 4 * weights[other]).toFixed(2)}px`;
    path.style.opacity = (0.15 + 0.8 * Math.sqrt(weights[other] / weights[best[0]])).toFixed(3);
    svg.append(path);
  }
}

/** Which tokens make up each word; a token without a word stands for itself. */
export function wordsOf(side: Side): { names: string[]; members: number[][] } {
  const members: number[][] = [];
  side.tokens.forEach((_, place) => {
    const word = side.words?.[place] ?? -1;
    const before = members.at(-1);
    if (word >= 0 && before && side.words![before[0]] === word) before.push(place);
    else members.push([place]);
  });
  const bare = (token: string, first: boolean) => (first ? token.replace(/^[▁Ġ␣]/u, "") : token.replace(/^##/u, ""));
  const joined = (group: number[]) => group.map((place, at) => bare(side.tokens[place], at === 0)).join("").replace(/<\/w>$/u, "");
  const names = members.map((group) =>
    group.length === 1 ? side.tokens[group[0]] : side.spelled?.[side.words![group[0]]] || joined(group));
  return { names, members };
}
