// Layers and heads: small pictures to choose from.

function colorsOfRamp() {
  const probe = make("div", { class: "cell", hidden: "" });
  element("matrix").append(probe);
  const canvas = make("canvas", { width: 101, height: 1 });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  for (let percent = 0; percent <= 100; percent++) {
    probe.style.setProperty("--w", percent / 100);
    pen.fillStyle = getComputedStyle(probe).backgroundColor;
    pen.fillRect(percent, 0, 1, 1);
  }
  probe.remove();
  return pen.getImageData(0, 0, 101, 1).data;
}

function drawHeads() {
  const { heads, rows, columns } = sentence();
  element("heads-section").hidden = !heads || !rows.length || !columns.length;
  if (element("heads-section").hidden) return;
  const ramp = colorsOfRamp();
  const tiles = [];
  const tile = (layer, head) => {
    const made = make("button", { type: "button", class: "tile", "aria-label": nameOf(layer, head), title: nameOf(layer, head) },
      picture(headWeights(heads, layer, head), ramp));
    made.onclick = () => chooseHead(layer, head);
    made.dataset.head = `${layer} ${head}`;
    tiles.push(made);
    return make("td", {}, made);
  };
  const heading = (scope, name) => make("th", { scope, title: name }, make("span", { dir: "auto" }, name));
  const order = [...heads.heads.keys(), ...(heads.heads.length > 1 ? [MEAN] : [])];
  const body = heads.layers.map((name, layer) => make("tr", {}, heading("row", name), ...order.map((head) => tile(layer, head))));
  const top = make("tr", {}, make("td"), ...order.map((head) => heading("col", head === MEAN ? "mean" : heads.heads[head])));
  const grid = make("table", { class: "grid", role: "presentation" }, make("thead", {}, top), make("tbody", {}, ...body));
  const side = Math.max(36, Math.min(130, (element("heads-section").clientWidth - 130) / order.length - 8));
  const most = Math.max(rows.length, columns.length);
  grid.style.setProperty("--tile-width", `${(side * columns.length) / most}px`);
  grid.style.setProperty("--tile-height", `${(side * rows.length) / most}px`);
  const whole = make("button", { type: "button", class: "tile whole" }, "the alignment");
  whole.onclick = () => chooseHead(null, null);
  whole.dataset.head = "null null";
  replace("heads", whole, grid);
  walk(grid, tiles, order.length);
}

function picture(weights, ramp) {
  const [width, height] = [weights[0].length, weights.length];
  const canvas = make("canvas", { width, height });
  const pen = canvas.getContext("2d");
  const pixels = pen.createImageData(width, height);
  weights.flat().forEach((weight, place) => {
    const from = 4 * Math.round((100 * weight) / data.scale);
    pixels.data.set(ramp.subarray(from, from + 4), 4 * place);
  });
  pen.putImageData(pixels, 0, 0);
  return canvas;
}
