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

/** Let Tab reach one item of a group, and the arrow keys the others. */
export function walk(container: HTMLElement, items: HTMLElement[], columns = 1, current = 0): void {
  items.forEach((item, place) => {
    item.tabIndex = place === current ? 0 : -1;
    item.addEventListener("focus", () => {
      items[current].tabIndex = -1;
      items[(current = place)].tabIndex = 0;
    });
  });
  container.onkeydown = (event) => {
    const onward = getComputedStyle(container).direction === "rtl" ? -1 : 1;
    const first = columns > 1 ? current - (current % columns) : 0;
    const last = columns > 1 ? Math.min(first + columns, items.length) - 1 : items.length - 1;
    const sideways = (by: number) => Math.min(Math.max(current + by, first), last);
    const steps: Record<string, number> = {
      ArrowRight: sideways(onward), ArrowLeft: sideways(-onward),
      ArrowDown: columns > 1 ? current + columns : sideways(1), ArrowUp: columns > 1 ? current - columns : sideways(-1),
      Home: first, End: last,
    };
    const next = steps[event.key];
    if (next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    items[next]?.focus();
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
