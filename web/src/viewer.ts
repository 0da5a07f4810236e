// The map of one head: pans, zooms from the whole of it to single weights, and is walked with the arrow keys.

import { make, shown } from "./elements";
import type { HeadMap } from "./maps";
import { TILE, Tiles, reference } from "./tiles";

const WORDS = 92; // pixels beside the map for words
const NUMBERS = 38; // and for numbers
const OVERHANG = WORDS / 2; // and at the right, where the last slanted word leans
const LABELLED = 10; // pixels a cell from which on words stand beside it
const LARGEST = 48;
const FINEST = 3; // from 8 weights a pixel on, parts are computed; beyond, means are shown
const EAST_ASIAN = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u;

export interface Shown {
  map: HeadMap;
  rows: string[];
  columns: string[];
  mirrored: boolean;
}

export class Viewer {
  readonly element: HTMLElement;
  private readonly canvas = make("canvas", {
    tabindex: 0, role: "application",
    "aria-label": "Map of the head: arrow keys move, plus and minus zoom, 0 shows all of it, Enter holds the query",
  });
  private readonly legend = make("p", { class: "quiet legend" });
  private shown: Shown | null = null;
  private tiles: Tiles | null = null;
  private base: HTMLCanvasElement | null = null;
  private cell = 1;
  private origin = { x: 0, y: 0 };
  private cursor: { row: number; column: number } | null = null;
  private drawn = 0;
  private drag: { x: number; y: number; moved: boolean } | null = null;
  /** Frames that were drawn, for those who measure. */
  frames = 0;

  constructor(
    private readonly pointed: (row: number | null, column: number | null) => void,
    private readonly chosen: (row: number) => void,
  ) {
    const button = (name: string, text: string, act: () => void) => {
      const made = make("button", { type: "button", "aria-label": name, title: name }, text);
      made.onclick = act;
      return made;
    };
    const tools = make("div", { class: "tools" },
      button("Zoom in", "+", () => this.zoom(1.6)), button("Zoom out", "−", () => this.zoom(1 / 1.6)),
      button("Show all of it", "⤢", () => this.fit()));
    this.element = make("div", { class: "viewer" }, this.canvas, make("div", { class: "below" }, this.legend, tools));
    this.listen();
    new ResizeObserver(() => this.resized()).observe(this.canvas);
  }

  show(shown: Shown, colors: Uint32Array): void {
    const same = this.shown?.rows.length === shown.rows.length && this.shown.columns.length === shown.columns.length;
    this.tiles?.stop();
    this.shown = shown;
    this.tiles = shown.map.detailed ? new Tiles(shown.map, colors, () => this.redraw()) : null;
    this.base = picture(shown.map, colors);
    if (same) this.redraw();
    else {
      this.cursor = null;
      this.fit();
    }
  }

  /** Frame a query, or none. */
  point(row: number | null, column: number | null): void {
    this.cursor = row === null || column === null ? null : { row, column };
    this.redraw();
  }

  /** Room beside the map: words need more than numbers. */
  private get gutter(): number {
    return this.cell >= LABELLED ? WORDS : NUMBERS;
  }

  private get area(): { width: number; height: number } {
    const beside = this.gutter + (this.gutter === WORDS ? OVERHANG : 0);
    return { width: Math.max(1, this.canvas.clientWidth - beside), height: Math.max(1, this.canvas.clientHeight - this.gutter) };
  }

  private get smallest(): number {
    const { map } = this.shown!;
    const within = (gutter: number, overhang = 0) => Math.min(LARGEST,
      Math.max(1, this.canvas.clientWidth - gutter - overhang) / map.columns,
      Math.max(1, this.canvas.clientHeight - gutter) / map.rows);
    const worded = within(WORDS, OVERHANG);
    return worded >= LABELLED ? worded : Math.min(within(NUMBERS), LABELLED - 0.01);
  }

  private fit(): void {
    if (!this.shown) return;
    this.cell = this.smallest;
    this.origin = { x: 0, y: 0 };
    this.redraw();
  }

  private resized(): void {
    const scale = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.canvas.clientWidth * scale);
    this.canvas.height = Math.round(this.canvas.clientHeight * scale);
    if (this.shown && this.cell < this.smallest) this.fit();
    this.redraw();
  }

  /** Zoom around a place of the map's area, by default its middle. */
  private zoom(by: number, x = this.area.width / 2, y = this.area.height / 2): void {
    if (!this.shown) return;
    const cell = Math.min(LARGEST, Math.max(this.smallest, this.cell * by));
    this.origin.x += x / this.cell - x / cell;
    this.origin.y += y / this.cell - y / cell;
    this.cell = cell;
    this.redraw();
  }

  private pan(x: number, y: number): void {
    this.origin.x += x / this.cell;
    this.origin.y += y / this.cell;
    this.redraw();
  }

  private redraw(): void {
    if (!this.drawn) this.drawn = requestAnimationFrame(() => this.draw());
  }

  private draw(): void {
    this.drawn = 0;
    if (!this.shown || !this.canvas.width) return;
    this.frames++;
    const { map, mirrored } = this.shown;
    const { width, height } = this.area;
    const limit = (at: number, length: number, room: number) => Math.max(0, Math.min(at, length - room / this.cell));
    this.origin.x = limit(this.origin.x, map.columns, width);
    this.origin.y = limit(this.origin.y, map.rows, height);
    const pen = this.canvas.getContext("2d")!;
    const scale = this.canvas.width / this.canvas.clientWidth;
    const style = getComputedStyle(this.canvas);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, this.canvas.clientWidth, this.canvas.clientHeight);
    pen.save();
    pen.beginPath();
    pen.rect(this.gutter, this.gutter, width, height);
    pen.clip();
    pen.translate(this.gutter + (mirrored ? width : 0), this.gutter);
    pen.scale((mirrored ? -1 : 1) * this.cell, this.cell);
    pen.translate(-this.origin.x, -this.origin.y);
    pen.imageSmoothingEnabled = false;
    const [high, wide] = map.block;
    pen.drawImage(this.base!, 0, 0, map.tiles[1] * wide, map.tiles[0] * high);
    const level = this.drawTiles(pen);
    pen.clearRect(map.columns, 0, map.tiles[1] * wide, map.rows + high); // the last blocks may be shorter
    pen.clearRect(0, map.rows, map.columns + wide, map.tiles[0] * high);
    pen.restore();
    this.drawCursor(pen, style);
    this.drawWords(pen, style);
    this.tell(level);
  }

  /** Draw what is computed at this zoom over the means; return the level, or null where means are all there is. */
  private drawTiles(pen: CanvasRenderingContext2D): number | null {
    const { map } = this.shown!;
    const level = Math.max(0, Math.ceil(Math.log2(1 / this.cell) - 0.01));
    const useful = level <= FINEST && 2 ** level < Math.max(...map.block, 2);
    if (!this.tiles || !useful) return null;
    this.tiles.drop();
    const step = TILE * 2 ** level;
    const { width, height } = this.area;
    const last = (at: number, room: number, length: number) => Math.floor(Math.min(length - 1, at + room / this.cell) / step);
    for (let y = Math.floor(this.origin.y / step); y <= last(this.origin.y, height, map.rows); y++)
      for (let x = Math.floor(this.origin.x / step); x <= last(this.origin.x, width, map.columns); x++) {
        const tile = this.tiles.get(level, y, x);
        if (tile) pen.drawImage(tile, x * step, y * step, tile.width * 2 ** level, tile.height * 2 ** level);
      }
    return level;
  }

  private toX(column: number): number {
    const along = (column - this.origin.x) * this.cell;
    return this.gutter + (this.shown!.mirrored ? this.area.width - along : along);
  }

  private toY(row: number): number {
    return this.gutter + (row - this.origin.y) * this.cell;
  }

  private drawCursor(pen: CanvasRenderingContext2D, style: CSSStyleDeclaration): void {
    if (!this.cursor) return;
    const { map } = this.shown!;
    const { width, height } = this.area;
    const size = Math.max(2, this.cell);
    const [x, y] = [this.toX(this.cursor.column + (this.shown!.mirrored ? 1 : 0)), this.toY(this.cursor.row)];
    pen.save();
    pen.beginPath();
    pen.rect(this.gutter, this.gutter, width, height);
    pen.clip();
    pen.strokeStyle = style.getPropertyValue("--accent");
    pen.lineWidth = 1;
    pen.globalAlpha = 0.55;
    pen.strokeRect(this.gutter - 2, y - 0.5, Math.min(width, map.columns * this.cell) + 4, size + 1);
    pen.strokeRect(x - 0.5, this.gutter - 2, size + 1, Math.min(height, map.rows * this.cell) + 4);
    pen.globalAlpha = 1;
    pen.lineWidth = 2;
    pen.strokeRect(x - 1, y - 1, size + 2, size + 2);
    pen.restore();
  }

  private drawWords(pen: CanvasRenderingContext2D, style: CSSStyleDeclaration): void {
    const { rows, columns } = this.shown!;
    const { width, height } = this.area;
    const worded = this.cell >= LABELLED;
    const every = worded ? 1 : niceStep(46 / this.cell);
    const size = worded ? Math.min(15, Math.max(10, this.cell * 0.72)) : 11;
    pen.font = `${size}px ${style.fontFamily}`;
    pen.textBaseline = "middle";
    const span = (at: number, room: number, length: number) =>
      [Math.ceil(Math.floor(at) / every) * every, Math.min(length, at + room / this.cell)];
    const [top, bottom] = span(this.origin.y, height, rows.length);
    const ink = (active: boolean) => style.getPropertyValue(active ? "--accent" : worded ? "--text" : "--quiet");
    for (let row = top; row < bottom; row += every) {
      const y = this.toY(row + (worded ? 0.5 : 0));
      if (y < this.gutter) continue;
      pen.fillStyle = ink(row === this.cursor?.row);
      pen.textAlign = "right";
      pen.fillText(clipped(pen, worded ? rows[row] : String(row), this.gutter - 12), this.gutter - 6, y);
    }
    const [left, right] = span(this.origin.x, width, columns.length);
    for (let column = left; column < right; column += every) {
      const x = this.toX(column + (worded ? 0.5 : 0));
      if (x < this.gutter || x > this.gutter + width) continue;
      pen.fillStyle = ink(column === this.cursor?.column);
      this.drawAbove(pen, worded ? columns[column] : String(column), x, size, worded);
    }
  }

  /** A word above its column: upright where it fits, East Asian ones downwards, all others slanted. */
  private drawAbove(pen: CanvasRenderingContext2D, word: string, x: number, size: number, worded: boolean): void {
    if (!worded || (pen.measureText(word).width <= this.cell - 2)) {
      pen.textAlign = "center";
      pen.fillText(word, x, this.gutter - size * 0.8);
    } else if (EAST_ASIAN.test(word)) {
      pen.textAlign = "center";
      const letters = [...word].slice(0, Math.floor((this.gutter - 8) / size));
      letters.forEach((letter, place) => pen.fillText(letter, x, this.gutter - size * (letters.length - place - 0.35)));
    } else {
      pen.save();
      pen.translate(x, this.gutter - 6);
      pen.rotate(-Math.PI / 3);
      pen.textAlign = "left";
      pen.fillText(clipped(pen, word, this.gutter - 14), 0, 0);
      pen.restore();
    }
  }

  private tell(level: number | null): void {
    const { map } = this.shown!;
    const many = 2 ** (level ?? 0);
    const what = level === null
      ? map.block[0] === 1 && map.block[1] === 1 ? "each weight" : `means of ${map.block[0]} × ${map.block[1]} weights`
      : many === 1 ? "each weight" : `means of ${many} × ${many} weights`;
    const most = level === null ? map.peak : reference(map, level);
    const bar = make("span", { class: "ramp", "aria-hidden": "true" });
    this.legend.replaceChildren("0 ", bar, ` ${shown(most)}, as its root: ${what}`);
    this.element.dataset.level = level === null ? "means" : String(level);
    this.element.dataset.busy = String(this.tiles?.busy ?? false);
  }

  private cellAt(event: MouseEvent): { row: number; column: number } | null {
    if (!this.shown) return null;
    const box = this.canvas.getBoundingClientRect();
    const along = event.clientX - box.left - this.gutter;
    const column = Math.floor(this.origin.x + (this.shown.mirrored ? this.area.width - along : along) / this.cell);
    const row = Math.floor(this.origin.y + (event.clientY - box.top - this.gutter) / this.cell);
    const { map } = this.shown;
    return row >= 0 && row < map.rows && column >= 0 && column < map.columns ? { row, column } : null;
  }

  private listen(): void {
    const { canvas } = this;
    canvas.onpointerdown = (event) => {
      this.drag = { x: event.clientX, y: event.clientY, moved: false };
      canvas.setPointerCapture(event.pointerId);
    };
    canvas.onpointermove = (event) => {
      if (!this.drag) return this.cursorTo(this.cellAt(event));
      const [x, y] = [event.clientX - this.drag.x, event.clientY - this.drag.y];
      if (!this.drag.moved && Math.abs(x) + Math.abs(y) < 4) return;
      this.pan(this.shown?.mirrored ? x : -x, -y);
      this.drag = { x: event.clientX, y: event.clientY, moved: true };
    };
    canvas.onpointerup = (event) => {
      const cell = this.cellAt(event);
      if (this.drag && !this.drag.moved && cell) this.chosen(cell.row);
      this.drag = null;
    };
    canvas.onpointercancel = () => (this.drag = null);
    canvas.onpointerleave = () => !this.drag && this.cursorTo(null);
    canvas.addEventListener("wheel", (event) => {
      if (!this.shown || (!event.ctrlKey && document.activeElement !== canvas && !this.element.contains(document.activeElement))) return;
      event.preventDefault();
      const box = canvas.getBoundingClientRect();
      const along = event.clientX - box.left - this.gutter;
      const x = this.shown.mirrored ? this.area.width - along : along;
      this.zoom(2 ** (-event.deltaY / 240), x, event.clientY - box.top - this.gutter);
    }, { passive: false });
    canvas.onkeydown = (event) => this.key(event);
  }

  private cursorTo(cell: { row: number; column: number } | null): void {
    this.cursor = cell;
    this.pointed(cell?.row ?? null, cell?.column ?? null);
    this.redraw();
  }

  private key(event: KeyboardEvent): void {
    if (!this.shown || event.ctrlKey || event.metaKey || event.altKey) return;
    const { map, mirrored } = this.shown;
    const at = this.cursor ?? { row: Math.floor(this.origin.y), column: Math.floor(this.origin.x) };
    const step = this.cursor === null ? 0 : event.shiftKey ? 10 : 1;
    const onward = mirrored ? -step : step;
    const moves: Record<string, [number, number]> = {
      ArrowRight: [at.row, at.column + onward], ArrowLeft: [at.row, at.column - onward],
      ArrowDown: [at.row + step, at.column], ArrowUp: [at.row - step, at.column],
      Home: [at.row, 0], End: [at.row, map.columns - 1], PageUp: [0, at.column], PageDown: [map.rows - 1, at.column],
    };
    const acts: Record<string, () => void> = {
      "+": () => this.zoom(1.6), "=": () => this.zoom(1.6), "-": () => this.zoom(1 / 1.6), "0": () => this.fit(),
      Enter: () => this.cursor && this.chosen(this.cursor.row), Escape: () => this.cursorTo(null),
    };
    if (!(event.key in moves) && !(event.key in acts)) return;
    event.preventDefault();
    if (event.key in acts) return acts[event.key]();
    const within = (place: number, length: number) => Math.min(Math.max(place, 0), length - 1);
    const [row, column] = moves[event.key];
    this.cursorTo({ row: within(row, map.rows), column: within(column, map.columns) });
    this.reveal();
  }

  /** Move the part that is seen to where the cursor is. */
  private reveal(): void {
    const follow = (at: number, place: number, room: number) =>
      Math.max(Math.min(at, place), place + 1 - room / this.cell);
    this.origin.x = follow(this.origin.x, this.cursor!.column, this.area.width);
    this.origin.y = follow(this.origin.y, this.cursor!.row, this.area.height);
  }
}

function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, least)));
  return [1, 2, 5, 10].map((times) => times * power).find((step) => step >= least)!;
}

function clipped(pen: CanvasRenderingContext2D, word: string, room: number): string {
  if (pen.measureText(word).width <= room) return word;
  const letters = [...word].slice(0, 40);
  while (letters.length > 1 && pen.measureText(`${letters.join("")}…`).width > room) letters.pop();
  return `${letters.join("")}…`;
}

/** The means of a map as a picture, a pixel a block. */
export function picture(map: Pick<HeadMap, "means" | "tiles">, colors: Uint32Array): HTMLCanvasElement {
  const [height, width] = map.tiles;
  const canvas = make("canvas", { width, height });
  const pen = canvas.getContext("2d")!;
  const image = pen.createImageData(width, height);
  new Uint32Array(image.data.buffer).set(Uint32Array.from(map.means, (mean) => colors[mean]));
  pen.putImageData(image, 0, 0);
  return canvas;
}
