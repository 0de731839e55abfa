// What all panels share: the document, the filter, and which rows are shown in detail.

const report = JSON.parse(document.getElementById("document").textContent);
const MISSING = "–";
const FIRST_SHOWN = 8;

const state = {
  filter: "",
  shown: new Set([...report.arms.keys()].slice(0, FIRST_SHOWN)),
  listeners: [],
};

const haystacks = report.arms.map((arm) =>
  [arm.name, ...Object.entries(arm.config).map(([key, value]) => `${key}=${value}`)].join("\n").toLowerCase());

// Whether every word of the filter is in an arm's name or among its config values.
function matches(arm) {
  return state.filter.toLowerCase().split(/\s+/).every((word) => haystacks[arm].includes(word));
}

function changed() {
  for (const listen of state.listeners) listen();
}

const matching = () => [...report.arms.keys()].filter(matches);
const shownArms = () => [...report.arms.keys()].filter((arm) => state.shown.has(arm));
const colourOf = (arm) => shownArms().indexOf(arm);

// The same colour and dashes for an arm everywhere; of more than eight arms the dashes tell.
function key(arm) {
  const place = colourOf(arm);
  return shape("svg", { class: "key", width: 28, height: 10, "aria-hidden": "true" },
    shape("line", { x1: 1, x2: 27, y1: 5, y2: 5, class: `line colour${place % 8}`, "stroke-dasharray": dashes(place) }));
}

const dashes = (place) => ["none", "7 3", "2 3", "10 3 2 3"][Math.floor(place / 8) % 4];

function show(arms, on) {
  for (const arm of arms) on ? state.shown.add(arm) : state.shown.delete(arm);
  changed();
}

function tools() {
  const filter = element("input", {
    type: "search", id: "filter", placeholder: "name or key=value", autocomplete: "off",
    input: () => { state.filter = filter.value.trim(); changed(); },
  });
  const list = element("div", { class: "arms" });
  const summary = element("summary");
  const boxes = report.arms.map((arm, place) => {
    const label = checkbox(arm.name, state.shown.has(place), (on) => show([place], on));
    list.append(label);
    return label;
  });
  const follow = () => {
    boxes.forEach((label, place) => {
      label.hidden = !matches(place);
      label.firstChild.checked = state.shown.has(place);
    });
    summary.textContent = `Shown in detail: ${state.shown.size} of ${plural(report.arms.length, "row")}`;
  };
  state.listeners.push(follow);
  follow();
  return [
    element("label", { class: "filter" }, "Filter", filter),
    element("details", { id: "shown" }, summary,
      element("div", { class: "menu" },
        element("div", { class: "controls" },
          button("All that match", () => show(matching(), true)), button("None", () => show(report.arms.keys(), false))),
        list)),
  ];
}
