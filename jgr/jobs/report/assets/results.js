// The tables of results: sorted by a header, filtered, with the columns one wants.

const FEW_KEYS = 6;
const FEW_ROWS = 30;
const FEW_METRICS = 8;
const results = { hidden: new Set(), keys: new Set(), limits: report.arms.length <= FEW_ROWS, sorts: new Map() };
if (report.config.keys.length <= FEW_KEYS) report.config.keys.forEach((key) => results.keys.add(key));

const columnId = (column) => column.lines.join(" ");
const measured = new Map(report.tables.flatMap((table) => table.columns)
  .filter((column) => column.measured).map((column) => [columnId(column), column]));
report.tables.forEach((table) => table.columns.filter((column) => column.measured).slice(FEW_METRICS)
  .forEach((column) => results.hidden.add(columnId(column))));

// What a cell is sorted by: a number where its text begins with one.
function rankOf(cell) {
  if (cell === null || cell === MISSING) return null;
  if (typeof cell === "object") return cell.value === null ? null : Number(cell.value);
  const number = Number.parseFloat(cell);
  return Number.isNaN(number) ? cell.toLowerCase() : number;
}

function compareRanks(one, other) {
  if (typeof one === typeof other) return one < other ? -1 : one > other ? 1 : 0;
  return typeof one === "number" ? -1 : 1;
}

// Columns of a table as it is shown: {id, lines, better, cell(row)}.
function columnsOf(table) {
  const keys = report.config.keys.filter((key) => results.keys.has(key)).map((key) => ({
    id: `config ${key}`, lines: [key], cell: (row) => configText(row.arm, key),
  }));
  const others = table.columns.map((column, place) => ({ ...column, id: columnId(column), cell: (row) => row.cells[place] }))
    .filter((column) => !results.hidden.has(column.id));
  return [{ id: "name", lines: ["run"], cell: (row) => report.arms[row.arm].name }, ...keys, ...others];
}

function configText(arm, key) {
  const { config, whole } = report.arms[arm];
  return config[key] ?? (whole ? MISSING : "?");
}

function sorted(table, columns) {
  const sort = results.sorts.get(table);
  const column = sort && columns.find(({ id }) => id === sort.id);
  if (!column) return table.rows;
  const sign = sort.direction === "ascending" ? 1 : -1;
  const ranked = table.rows.map((row) => [rankOf(column.cell(row)), row]);
  const known = ranked.filter(([rank]) => rank !== null).sort(([one], [other]) => sign * compareRanks(one, other));
  return [...known, ...ranked.filter(([rank]) => rank === null)].map(([, row]) => row);
}

function sortBy(table, column) {
  const sort = results.sorts.get(table);
  const first = column.better === "higher" ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  results.sorts.set(table, { id: column.id, direction: sort?.id === column.id && sort.direction === first ? other : first });
}

function header(table, column, sort, again) {
  const sorting = sort?.id === column.id ? sort.direction : "none";
  const [name, ...lines] = column.lines;
  const arrow = { none: "↕", ascending: "▲", descending: "▼" }[sorting];
  return element("th", { scope: "col", "aria-sort": sorting, class: column.measured ? "number" : null },
    button([element("span", {}, breakable(name), " ", element("span", { class: "arrow", "aria-hidden": "true" }, arrow)),
      [...lines, ...(column.better ? [`${column.better} is better`] : [])].map((line) => element("small", {}, breakable(line)))].flat(),
    () => { sortBy(table, column); again(column.id); }, { class: "sort", "data-column": column.id }));
}

function cellOf(cell) {
  if (cell === null || typeof cell !== "object") return element("td", {}, breakable(cell ?? MISSING));
  const text = cell.best ? element("strong", { title: "ahead of all others by more than luck" }, cell.text) : cell.text;
  const limits = results.limits && cell.limits ? element("small", {}, cell.limits) : null;
  return element("td", { class: "number", title: cell.detail }, text, limits);
}

function resultTable(table) {
  const host = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": table.title || "Results" });
  const draw = (focus) => {
    const columns = columnsOf(table);
    const sort = results.sorts.get(table);
    const rows = sorted(table, columns).filter((row) => matches(row.arm)).map((row) => {
      const name = report.arms[row.arm].name;
      const box = element("input", {
        type: "checkbox", checked: state.shown.has(row.arm), "aria-label": `show ${name} in detail`,
        change: () => show([row.arm], box.checked),
      });
      return element("tr", { "data-arm": name },
        element("th", { scope: "row" }, element("label", { class: "check" }, box, element("span", {}, breakable(name)))),
        columns.slice(1).map((column) => cellOf(column.cell(row))));
    });
    host.replaceChildren(element("table", { class: "results" },
      element("thead", {}, element("tr", {}, columns.map((column) => header(table, column, sort, draw)))),
      element("tbody", {}, rows.length ? rows : element("tr", {}, element("td", { colspan: columns.length }, "No row matches the filter.")))));
    if (focus) host.querySelector(`[data-column="${CSS.escape(focus)}"]`)?.focus();
  };
  draw();
  return host;
}

function columnMenu(again) {
  const boxes = (title, ids, isOn, set) => ids.length
    ? element("fieldset", {}, element("legend", {}, title), ids.map((id) => checkbox(id, isOn(id), (on) => { set(id, on); again(); })))
    : null;
  return element("details", { id: "columns" }, element("summary", {}, "Columns"), element("div", { class: "menu" },
    boxes("Metrics", [...measured.keys()], (id) => !results.hidden.has(id),
      (id, on) => (on ? results.hidden.delete(id) : results.hidden.add(id))),
    boxes("Config keys that differ", report.config.keys, (id) => results.keys.has(id),
      (id, on) => (on ? results.keys.add(id) : results.keys.delete(id)))));
}

function published() {
  if (!report.published.length) return null;
  return element("section", {},
    element("h2", {}, "Published, not ranked with the above"),
    element("p", {}, "Numbers from elsewhere: their protocols may differ from ours."),
    element("div", { class: "scroll" }, element("table", {},
      element("thead", {}, element("tr", {}, ["name", "metric", "value", "source", "how it differs"].map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, report.published.map((one) => element("tr", {},
        element("th", { scope: "row" }, one.name), element("td", {}, one.metric), element("td", { class: "number" }, one.value),
        element("td", {}, one.source), element("td", {}, one.note)))))));
}

function resultsPanel(host) {
  const tables = element("div");
  const draw = () => tables.replaceChildren(...report.tables.map((table) => element("section", {},
    table.title ? element("h2", {}, table.title) : null,
    table.apart ? element("p", {}, table.apart) : null,
    resultTable(table),
    element("ul", { class: "notes" }, table.leads.map((lead) => element("li", {}, lead))))));
  put(host,
    element("div", { class: "controls" }, columnMenu(draw),
      checkbox("95 % intervals", results.limits, (on) => { results.limits = on; draw(); })),
    report.tables.filter((table) => table.columns.some((column) => column.measured)).length > 1 ? element("p", {}, "Numbers of two data sets or protocols are never ranked with each other: each has a table of its own.") : null,
    tables,
    element("ul", { class: "notes" }, report.notes.map((note) => element("li", {}, note))),
    published());
  draw();
  return draw;
}
