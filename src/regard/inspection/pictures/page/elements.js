"use strict";
// Building elements and walking among them. Every text becomes a text node or a label, so no token is ever markup.

const element = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function replace(id, ...children) {
  element(id).replaceChildren(...children);
}

const text = (word) => make("span", { class: "text", dir: "auto" }, word);

/** Let Tab reach one item of a group, and the arrow keys the others. */
function walk(container, items, columns = 1) {
  let current = Math.max(0, items.findIndex((item) => item.matches("[aria-selected=true], [aria-pressed=true]")));
  items.forEach((item, place) => {
    item.setAttribute("tabindex", place === current ? 0 : -1);
    item.addEventListener("focus", () => {
      items[current].setAttribute("tabindex", -1);
      items[(current = place)].setAttribute("tabindex", 0);
    });
  });
  container.onkeydown = (event) => {
    if ((event.key === "Enter" || event.key === " ") && event.target.tagName !== "BUTTON") {
      event.preventDefault();
      event.target.click();
    }
    const onward = getComputedStyle(container).direction === "rtl" ? -1 : 1;
    const first = columns > 1 ? current - (current % columns) : 0;
    const last = columns > 1 ? first + columns - 1 : items.length - 1;
    const sideways = (by) => Math.min(Math.max(current + by, first), last);
    const next = {
      ArrowRight: () => sideways(onward), ArrowLeft: () => sideways(-onward),
      ArrowDown: () => current + columns, ArrowUp: () => current - columns,
      Home: () => first, End: () => last,
    }[event.key]?.();
    if (next === undefined) return;
    event.preventDefault();
    items[next]?.focus();
  };
}
