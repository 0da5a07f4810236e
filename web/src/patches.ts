// A side that is a picture: its patches are tokens, shaded over the picture, and pointed at in it.

import { make } from "./elements";
import type { Patches } from "./payload";

export class Picture {
  readonly element: HTMLElement;
  private readonly canvas = make("canvas", { tabindex: 0, role: "application" });
  private readonly source = make("canvas");
  private at = 0;

  constructor(
    name: string, private readonly patches: Patches, pixels: Uint8Array,
    private readonly pointed: (token: number | null) => void, private readonly chosen: (token: number) => void,
  ) {
    const [height, width] = patches.size;
    Object.assign(this.source, { width, height });
    const pen = this.source.getContext("2d")!;
    const image = pen.createImageData(width, height);
    for (let place = 0; place < width * height; place++) {
      image.data.set(pixels.subarray(3 * place, 3 * place + 3), 4 * place);
      image.data[4 * place + 3] = 255;
    }
    pen.putImageData(image, 0, 0);
    const scale = Math.max(1, Math.round(448 / Math.max(width, height)));
    Object.assign(this.canvas, { width: width * scale, height: height * scale });
    this.canvas.setAttribute("aria-label", `${name}: ${patches.grid[0]} by ${patches.grid[1]} patches, arrow keys move, Enter holds one`);
    this.element = make("div", { class: "picture" }, this.canvas);
    this.listen();
    this.shade(null, null);
  }

  /** Darken what has little weight, and frame the patch that was chosen. */
  shade(weights: ArrayLike<number> | null, active: number | null): void {
    const [rows, columns] = this.patches.grid;
    const { width, height } = this.canvas;
    const [wide, high] = [width / columns, height / rows];
    const pen = this.canvas.getContext("2d")!;
    pen.imageSmoothingEnabled = false;
    pen.drawImage(this.source, 0, 0, width, height);
    const { first } = this.patches;
    let most = 0;
    if (weights) for (let place = 0; place < rows * columns; place++) most = Math.max(most, weights[first + place]);
    for (let place = 0; weights && place < rows * columns; place++) {
      const share = most > 0 ? weights[first + place] / most : 0;
      pen.fillStyle = `rgb(8 12 20 / ${(0.82 * (1 - Math.sqrt(share))).toFixed(3)})`;
      pen.fillRect((place % columns) * wide, Math.floor(place / columns) * high, wide, high);
    }
    if (active === null || active < first || active >= first + rows * columns) return;
    const place = active - first;
    pen.lineWidth = Math.max(2, wide / 12);
    pen.strokeStyle = getComputedStyle(this.canvas).getPropertyValue("--gold") || "#fbbf24";
    pen.strokeRect((place % columns) * wide, Math.floor(place / columns) * high, wide, high);
  }

  private listen(): void {
    const [rows, columns] = this.patches.grid;
    const token = (event: MouseEvent) => {
      const box = this.canvas.getBoundingClientRect();
      const within = (part: number, count: number) => Math.min(count - 1, Math.max(0, Math.floor(part * count)));
      const row = within((event.clientY - box.top) / box.height, rows);
      return this.patches.first + row * columns + within((event.clientX - box.left) / box.width, columns);
    };
    this.canvas.onpointermove = (event) => this.pointed(token(event));
    this.canvas.onpointerleave = () => this.pointed(null);
    this.canvas.onclick = (event) => this.chosen(token(event));
    this.canvas.onkeydown = (event) => {
      const steps: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
      if (event.key === "Enter") this.chosen(this.patches.first + this.at);
      const next = this.at + (steps[event.key] ?? NaN);
      if (!(next >= 0 && next < rows * columns)) return;
      event.preventDefault();
      this.at = next;
      this.pointed(this.patches.first + next);
    };
  }
}
