// Learning curves: of each arm the mean over its seeds with a band, or every seed, drawn as SVG.

const PLOT = { height: 380, left: 64, right: 30, top: 10, bottom: 40 };
const plot = { metric: null, axis: "steps", band: "range", seeds: false, log: false, cursor: null };

// By default what a validation says, else a loss.
function firstMetric() {
  const names = report.curves.metrics;
  return names.find((name) => name.startsWith("validation/")) ?? names.find((name) => name.endsWith("/loss")) ?? names[0];
}

// Of one step: mean, limits of the band, and how many seeds.
function summaryAt(series, place) {
  const values = series.values.map((run) => run[place]).filter((value) => value !== null);
  if (!values.length) return null;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  if (plot.band === "range") return { mean, low: Math.min(...values), high: Math.max(...values), count: values.length };
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const std = values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0;
  return { mean, low: mean - std, high: mean + std, count: values.length };
}

// What is drawn: [{arm, runs, points: [{x, mean, low, high, count, values}]}].
function lines() {
  const metric = report.curves.metrics.indexOf(plot.metric);
  return report.curves.series.filter((series) => series.metric === metric && state.shown.has(series.arm)).map((series) => {
    const scale = plot.axis === "images" ? series.images_per_step : 1;
    const points = scale === null ? [] : report.curves.steps[series.steps].map((step, place) => {
      const found = summaryAt(series, place);
      return found && { x: step * scale, values: series.values.map((run) => run[place]), ...found };
    }).filter(Boolean);
    return { arm: series.arm, runs: series.runs, points };
  }).filter((line) => line.points.length);
}

function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let place = Math.ceil(low / step); place * step <= high + step * 1e-9; place += 1) found.push(place * step);
  return found;
}

function logTicks(low, high) {
  const found = [];
  const factors = Math.log10(high / low) > 2 ? [1] : Math.log10(high / low) > 0.7 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1) {
    for (const factor of factors) if (factor * 10 ** power >= low && factor * 10 ** power <= high) found.push(factor * 10 ** power);
  }
  return found;
}

function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(1).replace("e+", "e").replace(".0e", "e");
  return String(Number(value.toPrecision(4)));
}

function scaleOf(low, high, from, to, log) {
  const bend = log ? Math.log10 : (value) => value;
  const [start, end] = [bend(low), bend(high)];
  return (value) => from + ((bend(value) - start) / (end - start || 1)) * (to - from);
}

function path(points, x, y) {
  let begun = false;
  return points.map(([a, b]) => {
    if (b === null || (plot.log && b <= 0)) { begun = false; return ""; }
    const word = begun ? "L" : "M";
    begun = true;
    return `${word}${x(a).toFixed(1)} ${y(b).toFixed(1)}`;
  }).join("");
}

function bandPath(points, x, y, floor) {
  const limit = (value) => y(plot.log ? Math.max(value, floor) : value).toFixed(1);
  const up = points.map((point) => `${x(point.x).toFixed(1)} ${limit(point.high)}`);
  const down = points.map((point) => `${x(point.x).toFixed(1)} ${limit(point.low)}`).reverse();
  return `M${[...up, ...down].join("L")}Z`;
}

function drawing(found, width) {
  const values = found.flatMap((line) => line.points.flatMap((point) => {
    const ends = plot.seeds ? point.values : plot.band === "none" ? [point.mean] : [point.mean, point.low, point.high];
    return ends.filter((value) => value !== null && (!plot.log || value > 0));
  }));
  const all = found.flatMap((line) => line.points.map((point) => point.x));
  if (!values.length) return null;
  const bounds = (numbers) => numbers.reduce(([low, high], one) => [Math.min(low, one), Math.max(high, one)], [Infinity, -Infinity]);
  let [low, high] = bounds(values);
  if (low === high) [low, high] = plot.log ? [low / 2, high * 2] : [low - 1, high + 1];
  if (!plot.log) [low, high] = [low - (high - low) * 0.04, high + (high - low) * 0.04];
  const [first, last] = bounds(all);
  const x = scaleOf(first, last, PLOT.left, width - PLOT.right, false);
  const y = scaleOf(low, high, PLOT.height - PLOT.bottom, PLOT.top, plot.log);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${PLOT.height}`, height: PLOT.height, width, "aria-hidden": "true" });
  for (const tick of plot.log ? logTicks(low, high) : ticks(low, high, 6)) {
    svg.append(shape("line", { class: "grid", x1: PLOT.left, x2: width - PLOT.right, y1: y(tick), y2: y(tick) }),
      shape("text", { class: "tick", x: PLOT.left - 6, y: y(tick) + 4, "text-anchor": "end" }, short(tick)));
  }
  for (const tick of ticks(first, last, Math.max(4, Math.floor(width / 130)))) {
    svg.append(shape("text", { class: "tick", x: x(tick), y: PLOT.height - PLOT.bottom + 18, "text-anchor": "middle" }, short(tick)));
  }
  svg.append(shape("text", { class: "tick", x: (PLOT.left + width) / 2, y: PLOT.height - 4, "text-anchor": "middle" },
    plot.axis === "steps" ? "training step" : "training images seen"));
  for (const line of found) {
    const look = `line colour${colourOf(line.arm) % 8}`;
    const several = line.runs.length > 1;
    if (several && plot.band !== "none") svg.append(shape("path", { class: `band colour${colourOf(line.arm) % 8}`, d: bandPath(line.points, x, y, low) }));
    if (several && plot.seeds) {
      line.runs.forEach((run, place) => svg.append(shape("path", { class: `${look} seed`, d: path(line.points.map((point) => [point.x, point.values[place]]), x, y) })));
    }
    svg.append(shape("path", { class: `${look} mean`, "stroke-dasharray": dashes(colourOf(line.arm)), d: path(line.points.map((point) => [point.x, point.mean]), x, y) }));
  }
  const cursor = shape("line", { class: "cursor", y1: PLOT.top, y2: PLOT.height - PLOT.bottom });
  svg.append(cursor);
  return { svg, cursor, x, positions: [...new Set(all)].sort((one, other) => one - other) };
}

const nearest = (numbers, wanted) => numbers.reduce((best, one) => (Math.abs(one - wanted) < Math.abs(best - wanted) ? one : best));

function readout(found, at) {
  const band = { range: "least to most", std: "mean ± std", none: null }[plot.band];
  const rows = found.map((line) => {
    const x = nearest(line.points.map((point) => point.x), at);
    const point = line.points.find((one) => one.x === x);
    return element("tr", {},
      element("th", { scope: "row" }, key(line.arm), " ", report.arms[line.arm].name),
      element("td", { class: "number" }, short(x)), element("td", { class: "number" }, short(point.mean)),
      band ? element("td", { class: "number" }, point.count > 1 ? `${short(point.low)} to ${short(point.high)}` : MISSING) : null,
      element("td", { class: "number" }, String(point.count)),
      plot.seeds ? element("td", { class: "number" }, point.values.map((value) => (value === null ? MISSING : short(value))).join(", ")) : null);
  });
  const names = ["run", plot.axis === "steps" ? "step" : "images", "mean", band, "seeds", plot.seeds ? "every seed" : null].filter(Boolean);
  return element("table", { class: "readout" },
    element("thead", {}, element("tr", {}, names.map((name) => element("th", { scope: "col" }, name)))), element("tbody", {}, rows));
}

function curvesPanel(host) {
  plot.metric ??= firstMetric();
  const figure = element("div", { class: "plot", tabindex: 0, role: "application", "aria-label": "Learning curves: arrow keys move the reading line" });
  const table = element("div", { class: "scroll", "aria-live": "polite" });
  let drawn = null;
  let found = [];
  const read = () => {
    if (!drawn) return;
    const at = plot.cursor === null ? drawn.positions.at(-1) : nearest(drawn.positions, plot.cursor);
    drawn.cursor.setAttribute("x1", drawn.x(at));
    drawn.cursor.setAttribute("x2", drawn.x(at));
    table.replaceChildren(readout(found, at));
  };
  const draw = () => {
    found = lines();
    drawn = drawing(found, Math.max(280, figure.clientWidth));
    figure.replaceChildren(drawn ? drawn.svg : element("p", {}, "No row shown in detail has logged this metric."));
    table.replaceChildren();
    read();
  };
  const set = (field) => (value) => { plot[field] = value; if (field === "axis") plot.cursor = null; draw(); };
  figure.addEventListener("pointermove", (event) => {
    if (!drawn) return;
    const at = event.clientX - figure.getBoundingClientRect().left;
    plot.cursor = drawn.positions.reduce((best, one) => (Math.abs(drawn.x(one) - at) < Math.abs(drawn.x(best) - at) ? one : best));
    read();
  });
  figure.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity }[event.key];
    if (move === undefined || !drawn) return;
    event.preventDefault();
    const { positions } = drawn;
    const place = positions.indexOf(plot.cursor === null ? positions.at(-1) : nearest(positions, plot.cursor));
    plot.cursor = positions[Math.min(positions.length - 1, Math.max(0, place + move))];
    read();
  });
  const { metrics, points, logged } = report.curves;
  host.replaceChildren(
    element("div", { class: "controls" },
      choice("Metric", metrics.map((name) => [name, name]), plot.metric, set("metric")),
      choice("Along", [["steps", "training steps"], ["images", "images seen"]], plot.axis, set("axis")),
      choice("Band over seeds", [["range", "least to most"], ["std", "± standard deviation"], ["none", "none"]], plot.band, set("band")),
      checkbox("every seed", plot.seeds, set("seeds")), checkbox("logarithmic", plot.log, set("log"))),
    figure, table,
    element("p", { class: "hint" }, "A line is the mean over an arm's seeds at each logged step. Move over the plot, or focus it and use ← → Home End, to read values.",
      logged > points ? ` Curves are thinned: at most ${points} evenly chosen steps each are kept of up to ${logged} that were logged.` : ""));
  draw();
  new ResizeObserver(() => { if (figure.clientWidth && drawn && Number(drawn.svg.getAttribute("width")) !== figure.clientWidth) draw(); }).observe(figure);
  return draw;
}
