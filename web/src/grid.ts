// All layers and heads as small pictures to choose from.

import { make, walk } from "./elements";
import type { Panel } from "./payload";
import { picture } from "./viewer";

export function grid(
  panel: Panel, means: Uint8Array, colors: Uint32Array, chosen: number, choose: (chart: number) => void,
): HTMLElement {
  const size = panel.tiles[0] * panel.tiles[1];
  const heads = Math.max(...panel.charts.map((chart) => chart.head)) + 1;
  const most = Math.max((panel.columns ?? panel.rows).tokens.length, panel.rows.tokens.length);
  const [wide, high] = [(panel.columns ?? panel.rows).tokens.length / most, panel.rows.tokens.length / most];
  const tiles: HTMLElement[] = [];
  const tile = (place: number) => {
    const chart = panel.charts[place];
    const name = `${panel.layers[chart.layer]}, head ${chart.head}${chart.exact ? ", exact" : ""}`;
    const canvas = picture({ means: means.subarray(place * size, (place + 1) * size), tiles: panel.tiles }, colors);
    canvas.style.imageRendering = panel.tiles[1] < 64 ? "pixelated" : "auto";
    canvas.classList.toggle("mirrored", (panel.columns ?? panel.rows).rtl); // as the large map is
    canvas.style.aspectRatio = `${Math.max(0.15, wide)} / ${Math.max(0.15, high)}`;
    const made = make("button", {
      type: "button", class: `tile${chart.exact ? " exact" : ""}`, "aria-label": name, title: name,
      "aria-pressed": String(place === chosen),
    }, canvas);
    made.onclick = () => {
      for (const other of tiles) other.setAttribute("aria-pressed", String(other === made));
      choose(place);
    };
    tiles.push(made);
    return made;
  };
  const heading = (scope: string, name: string, short = name) =>
    make("th", { scope, title: name }, make("span", { dir: "auto" }, short));
  const short = differing(panel.layers);
  const rows = panel.layers.map((): (HTMLElement | undefined)[] => Array.from({ length: heads }));
  panel.charts.forEach((chart, place) => (rows[chart.layer][chart.head] = tile(place)));
  const body = panel.layers.map((name, layer) => make("tr", {}, heading("row", name, short[layer]),
    ...rows[layer].map((made) => make("td", {}, ...(made ? [made] : [])))));
  const top = make("tr", {}, make("td"), ...Array.from({ length: heads }, (_, head) => heading("col", String(head))));
  const table = make("table", { class: "grid", role: "presentation" }, make("thead", {}, top), make("tbody", {}, ...body));
  walk(table, rows, tiles[chosen]);
  return make("div", { class: "scrolled" }, table);
}

/** Of names such as encoder.layer.3.attention the part that tells them apart, with the one before: layer.3. */
export function differing(names: string[]): string[] {
  if (names.length < 2) return names;
  const parts = names.map((name) => name.split("."));
  const least = Math.min(...parts.map((part) => part.length));
  const same = (at: (part: string[]) => string) => parts.every((part) => at(part) === at(parts[0]));
  let first = 0;
  while (first < least - 1 && same((part) => part[first])) first++;
  let last = 0;
  while (last < least - 1 - first && same((part) => part[part.length - 1 - last])) last++;
  return parts.map((part) => part.slice(Math.max(0, first - 1), part.length - last).join("."));
}
