// The two sentences: their words, the lines between them, and what lights up where one points.

const SVG = "http://www.w3.org/2000/svg";
const LONG = 12; // words of a sentence from which on they are set smaller

function drawWords() {
  const { rows, columns, rtl } = sentence();
  const draw = (side, words, focusOf, backwards) => {
    cache.words[side] = words.map((word, place) => {
      const button = make("button", { type: "button", class: "word" }, text(word), make("span", { class: "number", dir: "ltr" }));
      follow(button, focusOf(place));
      return button;
    });
    element(side).setAttribute("dir", backwards ? "rtl" : "ltr");
    replace(side, ...cache.words[side]);
    walk(element(side), cache.words[side]);
  };
  element("pair").classList.toggle("long", Math.max(rows.length, columns.length) > LONG);
  draw("source", columns, (column) => ({ column }), rtl.columns);
  draw("target", rows, (row) => ({ row }), rtl.rows);
}

/** Show what belongs to a word ({row} or {column}), to a cell (both), or to nothing (null). */
function light(focus) {
  const { row = null, column = null } = focus ?? {};
  shadeWords("source", cache.words.source, row === null ? null : cache.weights[row], column, (k) => isGold(row, k));
  const received = column === null || row !== null ? null : cache.weights.map((weights) => weights[column]);
  shadeWords("target", cache.words.target, received, row, (q) => isGold(q, column));
  drawLines(row, column);
  drawBands(row, column);
  describe(row, column);
}

function shadeWords(side, words, weights, active, gold) {
  words.forEach((word, place) => {
    const weight = weights?.[place] ?? 0;
    word.style.setProperty("--w", weight);
    word.classList.toggle("shaded", weights !== null);
    word.classList.toggle("active", active === place);
    word.classList.toggle("gold", weights !== null && gold(place));
    word.lastChild.textContent = weights !== null && weight >= FAINT ? short(weight) : "";
    cache.heads[side][place]?.classList.toggle("lit", active === place);
  });
}

function linksToDraw(row, column) {
  if (row !== null && column !== null) return [[row, column]];
  const links = [];
  cache.weights.forEach((weights, q) => weights.forEach((weight, k) => {
    if (row === null && column === null ? weight >= 0.1 : (q === row || k === column) && weight >= 0.03) links.push([q, k]);
  }));
  return links;
}

/** Draw the links of a word, or all of them where both sentences fit on one line each. */
function drawLines(row, column) {
  const { source, target } = cache.words;
  const tops = (words) => new Set(words.map((word) => word.offsetTop)).size;
  const whole = row === null && column === null;
  const links = whole && (tops(source) > 1 || tops(target) > 1) ? [] : linksToDraw(row, column);
  const origin = element("pair").getBoundingClientRect();
  replace("lines", ...links.map(([q, k]) => {
    const [from, to] = [source[k].getBoundingClientRect(), target[q].getBoundingClientRect()];
    const [x, y] = [from.left + from.width / 2 - origin.left, from.bottom - origin.top - 6];
    const [u, v] = [to.left + to.width / 2 - origin.left, to.top - origin.top + 2];
    const path = document.createElementNS(SVG, "path");
    const weight = cache.weights[q][k];
    path.setAttribute("d", `M${x} ${y}C${x} ${(y + v) / 2} ${u} ${(y + v) / 2} ${u} ${v}`);
    path.setAttribute("stroke-width", 1 + 4 * weight);
    path.setAttribute("opacity", 0.15 + 0.75 * weight);
    return path;
  }));
}

/** Say the same in words and numbers: what the strongest weights are. */
function describe(row, column) {
  const { rows, columns } = sentence();
  if (row === null && column === null) return replace("readout");
  const backward = row === null;
  const [from, others] = backward ? [columns[column], rows] : [rows[row], columns];
  let entries = others.map((word, place) => ({
    word, weight: backward ? cache.weights[place][column] : cache.weights[row][place],
    gold: backward ? isGold(place, column) : isGold(row, place),
  }));
  if (!backward && column !== null) entries = [entries[column]];
  else entries = entries.filter((entry) => entry.weight >= FAINT || entry.gold).sort((a, b) => b.weight - a.weight).slice(0, 6);
  return replace("readout", make("b", {}, make("bdi", {}, from)), backward ? " → " : " ← ", ...entries.map(({ word, weight, gold }) =>
    make("span", { class: "entry" }, make("bdi", {}, word), ` ${weight.toFixed(3)}`,
      ...(gold ? [make("i", { class: "gold-mark", role: "img", "aria-label": "gold link" })] : []))));
}

/** Light on pointing and on keyboard focus; hold on click. */
function follow(item, focus) {
  item.onpointerenter = () => light(focus);
  item.onpointerleave = () => light(state.pinned);
  item.onfocus = () => item.matches(":focus-visible") && light(focus);
  item.onblur = () => light(state.pinned);
  item.onclick = () => {
    const same = state.pinned && state.pinned.row === focus.row && state.pinned.column === focus.column;
    light((state.pinned = same ? null : focus));
  };
}
