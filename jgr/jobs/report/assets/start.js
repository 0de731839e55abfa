// The page: tabs, of which one is drawn when it is first looked at, and again when what is shown has changed.

const panels = [
  ["results", "Results", resultsPanel, true],
  ["curves", "Curves", curvesPanel, report.curves.series.length > 0],
  ["pictures", "Pictures", picturesPanel, report.tests.length + report.grids.length > 0],
  ["config", "Config", configPanel, true],
  ["environment", "Environment", environmentPanel, true],
  ["reproduce", "Reproduce", reproducePanel, true],
].filter(([, , , needed]) => needed).map(([id, title, make]) => {
  const panel = element("div", { id, role: "tabpanel", "aria-labelledby": `tab-${id}`, hidden: true });
  const tab = element("button", { type: "button", role: "tab", id: `tab-${id}`, "aria-controls": id, click: () => open(id) }, title);
  return { id, make, panel, tab, draw: null, stale: false };
});

function open(id) {
  for (const one of panels) {
    const on = one.id === id;
    one.panel.hidden = !on;
    one.tab.setAttribute("aria-selected", on);
    one.tab.tabIndex = on ? 0 : -1;
    if (on) refresh(one);
  }
  history.replaceState(null, "", `#${id}`);
}

function refresh(one) {
  if (one.draw === null) one.draw = one.make(one.panel);
  else if (one.stale) one.draw();
  one.stale = false;
}

document.getElementById("tabs").append(...panels.map(({ tab }) => tab));
document.getElementById("panels").append(...panels.map(({ panel }) => panel));
document.getElementById("tabs").addEventListener("keydown", (event) => {
  const place = panels.findIndex(({ tab }) => tab === document.activeElement);
  const next = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: -1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  const { id, tab } = panels.at(next % panels.length);
  open(id);
  tab.focus();
});
document.getElementById("tools").append(...tools());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.querySelectorAll("details[open]").forEach((menu) => { menu.open = false; });
});
document.addEventListener("pointerdown", (event) => {
  document.querySelectorAll("details[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
});
state.listeners.push(() => {
  for (const one of panels) {
    one.stale = true;
    if (!one.panel.hidden) refresh(one);
  }
});
const runCount = report.arms.reduce((sum, arm) => sum + arm.runs.length, 0);
document.getElementById("summary").textContent =
  `${plural(report.arms.length, "row")}, ${plural(runCount, "run")}. Numbers of one column are of one metric, data set and protocol; bold ones are ahead of all others by more than luck.`;
open(panels.some(({ id }) => `#${id}` === location.hash) ? location.hash.slice(1) : "results");
