// Parts of a map as pictures, computed a few milliseconds at a time so that panning never waits for them.

import type { HeadMap } from "./maps";

export const TILE = 256;
const SLICE = 7; // milliseconds of work a frame
const MOST = 300; // tiles that are kept

interface Tile {
  canvas: HTMLCanvasElement;
  pixels: ImageData;
  next: number;
}

/** A weight's color: the root of its share of the largest that is expected at this zoom. */
export function reference(map: HeadMap, level: number): number {
  const levels = Math.log2(Math.max(map.block[0], map.block[1], 2));
  return map.top * (map.peak / map.top) ** Math.min(1, level / levels);
}

export class Tiles {
  private readonly made = new Map<string, Tile>();
  private waiting: string[] = [];
  private frame = 0;

  constructor(private readonly map: HeadMap, private readonly colors: Uint32Array, private readonly changed: () => void) {}

  /** The tile, or what is there of it; what is missing is put in line. */
  get(level: number, y: number, x: number): HTMLCanvasElement | null {
    const name = `${level} ${y} ${x}`;
    const tile = this.made.get(name);
    if (!tile || tile.next < tile.canvas.height) this.ask(name);
    if (tile) {
      this.made.delete(name);
      this.made.set(name, tile);
    }
    return tile?.canvas ?? null;
  }

  /** Forget what was asked for and is no longer looked at. */
  drop(): void {
    this.waiting = [];
  }

  get busy(): boolean {
    return this.waiting.length > 0;
  }

  stop(): void {
    cancelAnimationFrame(this.frame);
    this.waiting = [];
  }

  private ask(name: string): void {
    if (!this.waiting.includes(name)) this.waiting.push(name);
    if (!this.frame) this.frame = requestAnimationFrame(() => this.work());
  }

  private work(): void {
    this.frame = 0;
    const until = performance.now() + SLICE;
    while (this.waiting.length && performance.now() < until) {
      const name = this.waiting[0];
      if (this.advance(name, until)) this.waiting.shift();
    }
    this.changed();
    if (this.waiting.length && !this.frame) this.frame = requestAnimationFrame(() => this.work());
  }

  private advance(name: string, until: number): boolean {
    const [level, y, x] = name.split(" ").map(Number);
    const size = 2 ** level;
    const tile = this.made.get(name) ?? this.begin(name, size, y, x);
    const { width, height } = tile.canvas;
    const words = new Uint32Array(tile.pixels.data.buffer);
    const most = reference(this.map, level) * size * size;
    const from = tile.next;
    const into = new Float32Array(width);
    while (tile.next < height && (performance.now() < until || tile.next === from)) {
      into.fill(0);
      this.map.sums(y * TILE * size + tile.next * size, x * TILE * size, size, into);
      for (let place = 0; place < width; place++)
        words[tile.next * width + place] = this.colors[Math.min(255, Math.round(255 * Math.sqrt(into[place] / most)))];
      tile.next++;
    }
    tile.canvas.getContext("2d")!.putImageData(tile.pixels, 0, 0, 0, from, width, tile.next - from);
    return tile.next >= height;
  }

  private begin(name: string, size: number, y: number, x: number): Tile {
    const canvas = document.createElement("canvas");
    canvas.width = Math.min(TILE, Math.ceil(this.map.columns / size) - x * TILE);
    canvas.height = Math.min(TILE, Math.ceil(this.map.rows / size) - y * TILE);
    const tile = { canvas, pixels: new ImageData(canvas.width, canvas.height), next: 0 };
    this.made.set(name, tile);
    if (this.made.size > MOST) this.made.delete(this.made.keys().next().value!);
    return tile;
  }
}
