// Elements. Texts of runs only ever become text nodes and attribute values: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else if (name === "checked" || name === "value") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return node;
}

const element = (tag, properties = {}, ...children) => fill(document.createElement(tag), properties, children);
const shape = (tag, properties = {}, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

function checkbox(text, checked, change) {
  const box = element("input", { type: "checkbox", checked, change: () => change(box.checked) });
  return element("label", { class: "check" }, box, text);
}

// A labelled choice of [value, text]; change is told the value.
function choice(text, options, chosen, change) {
  const list = element("select", { change: () => change(list.value) },
    options.map(([value, shown]) => element("option", { value }, shown)));
  list.value = chosen;
  return element("label", { class: "choice" }, text, list);
}

const button = (content, click, properties = {}) => element("button", { type: "button", click, ...properties }, content);
// In place of what a node holds.
const put = (node, ...children) => { node.replaceChildren(); return fill(node, {}, children); };

// A text with places to break a line at: names of configs and protocols are long words.
const breakable = (text) => String(text).split(/(?<=[._/])/).flatMap((part, place) => (place ? [element("wbr"), part] : [part]));

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
