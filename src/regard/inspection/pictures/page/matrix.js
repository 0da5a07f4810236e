// The matrix: a table of cells, sized to the width, with slanted words above.

function drawMatrix() {
  const { rows, columns, rtl } = sentence();
  Object.assign(cache, { cells: [], heads: { source: [], target: [] } });
  if (!rows.length || !columns.length) return replace("matrix", make("p", { class: "quiet" }, "No words."));
  const heading = (word, scope, focus) => {
    const made = make("th", { scope, title: word }, make("span", { dir: "auto" }, word));
    follow(made, focus);
    return made;
  };
  cache.heads.source = columns.map((word, column) => heading(word, "col", { column }));
  cache.heads.target = rows.map((word, row) => heading(word, "row", { row }));
  const body = rows.map((word, row) => make("tr", {}, cache.heads.target[row], ...columns.map((other, column) => {
    const weight = cache.weights[row][column];
    const gold = isGold(row, column);
    const cell = make("td", {
      class: `cell${gold ? " gold" : ""}`, role: "gridcell",
      "aria-label": `${word} from ${other}: ${weight.toFixed(3)}${gold ? ", gold link" : ""}`,
    });
    cell.style.setProperty("--w", weight);
    follow(cell, { row, column });
    cache.cells.push(cell);
    return cell;
  })));
  const table = make("table", { class: "map", role: "grid", "aria-label": "Alignment: rows are output words, columns input words" },
    make("thead", {}, make("tr", {}, make("td"), ...cache.heads.source)), make("tbody", {}, ...body));
  replace("matrix", make("div", { class: "sheet", dir: rtl.columns ? "rtl" : "ltr" }, table));
  walk(table, cache.cells, columns.length);
  return fitMatrix();
}

/** Give cells the size that the width allows, and slanted words the height and room that they need. */
function fitMatrix() {
  const table = element("matrix").querySelector("table");
  if (!table) return;
  const count = sentence().columns.length;
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const side = Math.max(...cache.heads.target.map((head) => head.firstChild.offsetWidth)) + 1.5 * rem;
  const fitting = Math.floor((element("matrix").clientWidth - side - 3 * rem) / count);
  const largest = count > LONG ? 2.6 : 5 - 0.2 * count; // a short sentence may fill a wall
  const cell = Math.min(Math.max(fitting, 1.15 * rem), largest * rem);
  const set = (name, value) => table.style.setProperty(name, value);
  set("--cell", `${Math.floor(cell)}px`);
  set("--label", `${Math.min(cell * 0.66, (0.8 + 0.1 * largest) * rem)}px`);
  set("--digits", `${Math.min(cell * 0.36, 1.1 * rem)}px`);
  const long = cache.heads.source.map((head) => head.firstChild.offsetWidth);
  const high = cache.heads.source[0].firstChild.offsetHeight;
  set("--head", `${Math.ceil((Math.max(...long) + high) * Math.SQRT1_2 + 0.5 * rem)}px`);
  const over = Math.max(...long.map((width, place) => (width + high) * Math.SQRT1_2 - (count - place - 0.5) * cell));
  table.parentElement.style.paddingInlineEnd = `${Math.max(0, Math.ceil(over))}px`;
  cache.cells.forEach((one, place) => {
    const weight = cache.weights[Math.floor(place / count)][place % count];
    one.textContent = cell >= 1.9 * rem && weight >= 0.05 ? short(weight) : "";
  });
}

/** Frame a row, a column, or both; a cell also says what it is, since its headings may be out of sight. */
function drawBands(row, column) {
  const sheet = element("matrix").querySelector(".sheet");
  sheet?.querySelectorAll(".band, .tip").forEach((mark) => mark.remove());
  const columns = sentence().columns.length;
  const band = (first, last) => {
    const [left, right] = [first.offsetLeft, last.offsetLeft].sort((a, b) => a - b);
    const made = make("div", { class: "band", "aria-hidden": "true" });
    Object.assign(made.style, {
      left: `${sheet.firstChild.offsetLeft + left - 1}px`, top: `${first.offsetTop - 1}px`,
      width: `${right - left + last.offsetWidth + 1}px`,
      height: `${last.offsetTop - first.offsetTop + last.offsetHeight + 1}px`,
    });
    sheet.append(made);
  };
  if (!cache.cells.length) return;
  if (row !== null) band(cache.cells[row * columns], cache.cells[(row + 1) * columns - 1]);
  if (column !== null) band(cache.cells[column], cache.cells[cache.cells.length - columns + column]);
  if (row !== null && column !== null) drawTip(sheet, row, column);
}

function drawTip(sheet, row, column) {
  const { rows, columns } = sentence();
  const cell = cache.cells[row * columns.length + column];
  const tip = make("div", { class: "tip", "aria-hidden": "true", dir: "ltr" },
    make("bdi", {}, rows[row]), " ← ", make("bdi", {}, columns[column]), ` ${cache.weights[row][column].toFixed(3)}`);
  sheet.append(tip);
  const left = sheet.firstChild.offsetLeft + cell.offsetLeft + cell.offsetWidth / 2 - tip.offsetWidth / 2;
  const above = cell.offsetTop - tip.offsetHeight - 6;
  tip.style.left = `${Math.max(0, Math.min(left, sheet.offsetWidth - tip.offsetWidth))}px`;
  const covers = above < cache.cells[0].offsetTop && rows.length > 1; // the words above, which one may want to read
  tip.style.top = `${covers ? cell.offsetTop + cell.offsetHeight + 6 : above}px`;
}
