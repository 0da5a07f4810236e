// What is shown: one state, and the choices that change it. Read last, starts the page.

const data = JSON.parse(element("data").textContent);
const FAINT = 0.005; // weights below this carry no number
const MEAN = "mean";
const state = { sentence: 0, layer: null, head: null, step: 0, pinned: null };
const cache = { weights: [], gold: new Set(), words: { source: [], target: [] }, cells: [], heads: { source: [], target: [] } };

const sentence = () => data.sentences[state.sentence];
const short = (weight) => (weight >= 0.995 ? "1.0" : weight.toFixed(2).slice(1));

/** Return the map of a head, or the mean over the heads of its layer. */
function headWeights(heads, layer, head) {
  if (head !== MEAN) return heads.weights[layer][head];
  const all = heads.weights[layer];
  return all[0].map((row, q) => row.map((_, k) => all.reduce((sum, one) => sum + one[q][k], 0) / all.length));
}

function chooseWeights() {
  const { weights, heads } = sentence();
  const chosen = state.layer === null ? weights : headWeights(heads, state.layer, state.head);
  cache.weights = chosen.map((row) => row.map((weight) => weight / data.scale));
}

function nameOf(layer, head) {
  const { heads } = sentence();
  return `${heads.layers[layer]}, ${head === MEAN ? "mean of its heads" : heads.heads[head]}`;
}

const isGold = (row, column) => cache.gold.has(`${row} ${column}`);

function chooseHead(layer, head) {
  Object.assign(state, { layer, head, pinned: null });
  chooseWeights();
  drawMatrix();
  light(null);
  const { heads, belief, note } = sentence();
  element("shown").textContent = heads ? `Showing ${layer === null ? "the alignment" : nameOf(layer, head)}.` : "";
  element("belief").hidden = !belief || layer !== null; // it was measured of the alignment
  element("belief").textContent = belief;
  element("note").textContent = layer === null ? note : ""; // it names the head of the alignment and its error rate
  pressHead();
}

function pressHead() {
  const chosen = `${state.layer} ${state.head}`;
  document.querySelectorAll(".tile").forEach((tile) => tile.setAttribute("aria-pressed", tile.dataset.head === chosen));
}

function chooseSentence(number) {
  Object.assign(state, { sentence: number, layer: null, head: null, step: 0, pinned: null });
  const { title, gold } = sentence();
  [...element("sentences").children].forEach((item, place) => item.setAttribute("aria-selected", place === number));
  cache.gold = new Set((gold ?? []).map(([source, target]) => `${target} ${source}`));
  element("sentence-title").textContent = title || `Sentence ${number + 1}`;
  element("gold-legend").hidden = !gold;
  chooseWeights();
  drawWords();
  drawHeads();
  drawSteps();
  chooseHead(null, null);
}

function start() {
  element("title").textContent = data.title;
  element("layout").classList.toggle("single", data.sentences.length < 2);
  const items = data.sentences.map(({ rows, columns, rtl }, place) => {
    const line = (words, backwards) => make("span", { dir: backwards ? "rtl" : "ltr" }, words.join(" "));
    const item = make("li", { role: "option" }, line(columns, rtl.columns), line(rows, rtl.rows));
    item.onclick = () => chooseSentence(place);
    item.onfocus = () => chooseSentence(place);
    return item;
  });
  replace("sentences", ...items);
  const asked = parseInt(location.hash.slice(1), 10);
  chooseSentence(asked >= 1 && asked <= items.length ? asked - 1 : 0);
  walk(element("sentences"), items);
  document.addEventListener("keydown", (event) => event.key === "Escape" && light((state.pinned = null)));
  new ResizeObserver(() => { fitMatrix(); light(state.pinned); }).observe(element("pair"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolor);
  addEventListener("beforeprint", () => { document.documentElement.classList.add("printing"); recolor(); });
  addEventListener("afterprint", () => { document.documentElement.classList.remove("printing"); recolor(); });
}

/** Draw the small pictures in other colors; all else follows the style by itself. */
function recolor() {
  drawHeads();
  pressHead();
}

start();
