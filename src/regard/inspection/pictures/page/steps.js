// The steps of the decoder: scores, weights, shares of the context, candidates.

function drawSteps() {
  const { steps } = sentence();
  element("steps-section").hidden = !steps.length;
  if (!steps.length) return;
  const buttons = steps.map((step, place) => {
    const button = make("button", { type: "button", class: "word" }, text(step.token));
    button.onclick = () => drawStep(place, buttons);
    button.onfocus = () => drawStep(place, buttons);
    return button;
  });
  element("step-words").setAttribute("dir", sentence().rtl.rows ? "rtl" : "ltr");
  replace("step-words", ...buttons);
  walk(element("step-words"), buttons);
  drawStep(Math.min(state.step, steps.length - 1), buttons);
}

function drawStep(place, buttons) {
  state.step = place;
  buttons.forEach((button, other) => button.setAttribute("aria-pressed", other === place));
  const { steps } = sentence();
  const step = steps[place];
  const columns = steps.slice(0, place + 1).findLast((one) => one.columns).columns;
  const scores = step.scores.filter((score) => score !== null);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  const bar = (kind, number, part) => {
    const fill = make("i");
    fill.style.setProperty("--w", part);
    return make("td", {}, number, make("span", { class: `bar ${kind}`, "aria-hidden": "true" }, fill));
  };
  const share = (kind, weight) => bar(kind, (weight / data.scale).toFixed(3), weight / data.scale);
  const row = (word, ...cells) => make("tr", {}, make("th", { scope: "row" }, make("span", { dir: "auto" }, word)), ...cells);
  const table = (caption, names, rows) => make("table", { class: "bars" }, make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name)))), make("tbody", {}, ...rows));
  const inputs = columns.map((word, k) => row(word,
    step.scores[k] === null ? make("td", {}, "not seen") : bar("score", step.scores[k].toFixed(2), high > low ? (step.scores[k] - low) / (high - low) : 1),
    share("weight", step.weights[k]), ...(step.shares ? [share("share", step.shares[k])] : [])));
  const emitted = (token) => (token === step.token ? "emitted" : "");
  const outputs = step.candidates.map(([token, probability]) => {
    const made = row(token, share("weight", probability));
    made.setAttribute("class", emitted(token));
    return made;
  });
  replace("step", ...(step.note ? [make("p", { class: "quiet", dir: "auto" }, step.note)] : []),
    table(`Step ${place + 1} of ${steps.length}: where it looked`, ["input", "score", "weight", ...(step.shares ? ["share of the context"] : [])], inputs),
    ...(outputs.length ? [table("What it could have said", ["output", "probability"], outputs)] : []));
}
