// Building elements and walking among them. Every text becomes a text node or a label, so no token is ever markup.

type Child = Node | string;

export function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag, attributes: Record<string, string | number> = {}, ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/**
 * Let Tab reach one item of a group, and the arrow keys the others. Rows may be of different lengths and have gaps; up
 * and down stay in their column, or as near as a row has it, and a single row is walked by them as by left and right.
 */
export function walk(container: HTMLElement, rows: (HTMLElement | undefined)[][], current?: HTMLElement): void {
  const places = rows.flatMap((row, y) => row.flatMap((item, x) => (item ? [{ item, y, x }] : [])));
  if (!places.length) return;
  let at = places.find(({ item }) => item === current) ?? places[0];
  let goal: number | null = null; // the column that up and down keep through shorter rows
  for (const place of places) {
    place.item.tabIndex = place === at ? 0 : -1;
    place.item.addEventListener("focus", () => {
      at.item.tabIndex = -1;
      (at = place).item.tabIndex = 0;
      goal = null;
    });
  }
  const aside = (by: number) => {
    const row = places.filter(({ y }) => y === at.y);
    return row[Math.min(Math.max(row.indexOf(at) + by, 0), row.length - 1)];
  };
  const across = (by: number) => {
    if (rows.length === 1) return aside(by);
    const wanted = goal ?? at.x;
    const beyond = places.filter(({ y }) => (y - at.y) * by > 0);
    const next = Math.min(...beyond.map(({ y }) => Math.abs(y - at.y)));
    const row = beyond.filter(({ y }) => Math.abs(y - at.y) === next);
    return row.sort((one, other) => Math.abs(one.x - wanted) - Math.abs(other.x - wanted))[0] ?? at;
  };
  container.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const onward = getComputedStyle(container).direction === "rtl" ? -1 : 1;
    const steps: Record<string, () => typeof at> = {
      ArrowRight: () => aside(onward), ArrowLeft: () => aside(-onward),
      ArrowDown: () => across(1), ArrowUp: () => across(-1),
      Home: () => aside(-Infinity), End: () => aside(Infinity),
    };
    if (!(event.key in steps)) return;
    event.preventDefault();
    event.stopPropagation();
    const kept = event.key === "ArrowDown" || event.key === "ArrowUp" ? goal ?? at.x : null;
    steps[event.key]().item.focus();
    goal = kept;
  };
}

/** A weight as a reader likes it: three decimals, more where they would all be zero. */
export function shown(weight: number): string {
  if (weight >= 0.0005 || weight === 0) return weight.toFixed(3);
  return weight.toExponential(1);
}

/** The 256 colors from no weight to all of it, as the style of the page has them. */
export function ramp(root: HTMLElement): Uint32Array {
  const style = getComputedStyle(root);
  const stops = ["--weak", "--middle", "--strong"].map((name) => {
    const hex = style.getPropertyValue(name).trim().slice(1);
    return [0, 2, 4].map((place) => parseInt(hex.slice(place, place + 2), 16));
  });
  const colors = new Uint32Array(256);
  for (let step = 0; step < 256; step++) {
    const [from, part] = step < 128 ? [0, step / 127.5] : [1, step / 127.5 - 1];
    const [r, g, b] = [0, 1, 2].map((i) => Math.round(stops[from][i] + (stops[from + 1][i] - stops[from][i]) * part));
    colors[step] = (255 << 24) | (b << 16) | (g << 8) | r;
  }
  return colors;
}
