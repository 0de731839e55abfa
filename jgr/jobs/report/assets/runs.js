// What was run: configs, environments, and the commands that make each number again.

const view = { alike: false, search: "" };

function textTable(head, rows) {
  return element("div", { class: "scroll" }, element("table", { class: "texts" },
    element("thead", {}, element("tr", {}, head.map((name) => element("th", { scope: "col" }, breakable(name))))),
    element("tbody", {}, rows)));
}

// A row a name, a column a run; what all share on demand.
function vertical(host, what, names, alike, columns, valueOf) {
  const table = element("div");
  const fits = (name) => name.toLowerCase().includes(view.search.toLowerCase());
  const draw = () => {
    const differing = names.filter(fits).map((name) => element("tr", {},
      element("th", { scope: "row" }, breakable(name)), columns().map((column) => element("td", {}, breakable(valueOf(column, name))))));
    const shared = Object.entries(alike).filter(([name]) => view.alike && fits(name)).map(([name, value]) =>
      element("tr", { class: "alike" }, element("th", { scope: "row" }, breakable(name)), element("td", { colspan: Math.max(1, columns().length) }, breakable(value))));
    const none = element("tr", {}, element("td", { colspan: columns().length + 1 }, `No ${what} differs.`));
    table.replaceChildren(textTable([what, ...columns().map((column) => column.name)], [...(differing.length ? differing : [none]), ...shared]));
  };
  const search = element("input", { type: "search", value: view.search, input: () => { view.search = search.value.trim(); draw(); } });
  host.replaceChildren(
    element("div", { class: "controls" }, element("label", { class: "filter" }, `Find ${what}`, search),
      checkbox(`also the ${Object.keys(alike).length} that all share`, view.alike, (on) => { view.alike = on; draw(); })),
    table);
  draw();
  return draw;
}

function configPanel(host) {
  const body = element("div");
  const draw = vertical(body, "config key", report.config.keys, report.config.alike,
    () => shownArms().map((arm) => ({ arm, name: report.arms[arm].name })), ({ arm }, name) => configText(arm, name));
  const partial = report.arms.filter((arm) => !arm.whole).map((arm) => arm.name);
  host.replaceChildren(
    element("p", { class: "hint" }, `Only keys whose values differ between rows, the seed aside; ${MISSING} where a config has no such key.`,
      partial.length ? ` Nobody knows the whole config of ${partial.join(", ")}: only what was set in it; ? elsewhere.` : ""), body);
  return draw;
}

const shownRuns = () => shownArms().flatMap((arm) => report.arms[arm].runs);

function environmentPanel(host) {
  return vertical(host, "fact", report.facts.names, report.facts.alike, shownRuns, (run, name) => run.facts[name] ?? MISSING);
}

function copyButton(text) {
  const node = button("Copy", async () => {
    try {
      await navigator.clipboard.writeText(text);
      node.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(node.previousElementSibling);
      node.textContent = "Selected";
    }
  }, { "aria-label": `Copy ${text}` });
  return node;
}

function reproducePanel(host) {
  const draw = () => {
    const runs = shownArms().flatMap((arm) => report.arms[arm].runs.map((run) => [report.arms[arm].name, run]));
    const rows = runs.flatMap(([name, run]) => run.measurements.map((one, place) => element("tr", {},
      place ? element("td") : element("th", { scope: "row" }, run.name === name ? name : `${name}: ${run.name}`),
      element("td", {}, breakable(one.what || "all numbers of the run")), element("td", { class: "number" }, one.value),
      element("td", { class: "command" }, element("code", {}, one.command), copyButton(one.command)))));
    host.replaceChildren(
      element("p", { class: "hint" }, "Run these in a clone of the repository; they make the number again and say whether it came out the same. The code that made it is the commit under Environment."),
      textTable(["run", "measurement", "value", "command"], rows));
  };
  draw();
  return draw;
}
