// Restored images beside each other, with a slider and error maps, and grids of samples.

const look = { record: new Map(), left: "degraded", right: null, split: 0.5, errors: false, gain: 4 };
const scenes = new Map();

function sceneOf(name) {
  if (!scenes.has(name)) scenes.set(name, new Scene());
  return scenes.get(name);
}

const nameOf = ({ arm, run }) => (report.arms[arm].runs.length > 1 ? run : report.arms[arm].name);

// What there is of a record: [{id, name, picture, arm, note}], the runs between what they were given and the truth.
function imagesOf(record) {
  return [
    { id: "degraded", name: "degraded", picture: record.degraded, note: "" },
    ...record.restored.filter(({ arm }) => state.shown.has(arm)).map((one) => ({ id: one.run, name: nameOf(one), picture: one.picture, arm: one.arm, note: one.values })),
    { id: "truth", name: "truth", picture: record.truth, note: "" },
  ];
}

function slider(scene, images) {
  const find = (id, otherwise) => images.find((image) => image.id === id) ?? otherwise;
  let left = find(look.left, images[0]);
  let right = find(look.right, images.length > 2 ? images[1] : images.at(-1));
  let sources = [];
  const canvas = scene.canvas("", () => sources);
  const line = element("div", { class: "divider", "aria-hidden": "true" });
  const range = element("input", { type: "range", min: 0, max: 100, step: 1, value: 100 * look.split, "aria-label": "Where the left picture ends", input: () => split(range.value / 100) });
  const captions = [element("span", { class: "caption left" }), element("span", { class: "caption right" })];
  async function load() {
    captions[0].textContent = left.name;
    captions[1].textContent = right.name;
    canvas.setAttribute("aria-label", `${left.name} beside ${right.name}`);
    const pair = await Promise.all([picture(left.picture), picture(right.picture)]);
    sources = pair.map((source, place) => ({ source, from: place ? look.split : 0, to: place ? 1 : look.split }));
    // The larger one says how the picture is shaped: what was degraded may have fewer pixels.
    canvas.paint();
  }
  function split(share) {
    look.split = Math.min(1, Math.max(0, share));
    range.value = 100 * look.split;
    line.style.left = `${100 * look.split}%`;
    if (sources.length) [sources[0].to, sources[1].from] = [look.split, look.split];
    canvas.paint();
  }
  const share = (event) => (event.clientX - canvas.getBoundingClientRect().left) / canvas.clientWidth;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.taken = scene.zoom === 1 || Math.abs(share(event) - look.split) * canvas.clientWidth < 14;
    if (canvas.taken) split(share(event));
  });
  canvas.addEventListener("pointermove", (event) => { if (canvas.drag && canvas.taken) split(share(event)); });
  const options = images.map(({ id, name }) => [id, name]);
  split(look.split);
  load();
  return element("div", { class: "compare" },
    element("div", { class: "controls" },
      choice("Left", options, left.id, (id) => { look.left = id; left = find(id); load(); }),
      choice("Right", options, right.id, (id) => { look.right = id; right = find(id); load(); })),
    element("div", { class: "stage" }, canvas, line, captions), range);
}

function tile(scene, image, truth, record) {
  let sources = [];
  const note = element("small", {}, image.note);
  const canvas = scene.canvas(image.name, () => sources);
  const load = async () => {
    const [own, real] = await Promise.all([picture(image.picture), picture(truth)]);
    let source = own;
    const alike = own.naturalWidth === real.naturalWidth && own.naturalHeight === real.naturalHeight;
    if (look.errors && image.id !== "truth" && alike) {
      const found = errorMap(own, real, look.gain);
      source = found.canvas;
      canvas.setAttribute("aria-label", `error of ${image.name}`);
      note.textContent = `|error| ${found.mean.toFixed(2)} of 255, ${found.psnr.toFixed(2)} dB in this part`;
    }
    sources = [{ source, from: 0, to: 1 }];
    canvas.paint();
  };
  load();
  return element("figure", { "data-image": image.id },
    canvas, element("figcaption", {}, image.arm === undefined ? null : key(image.arm), " ", image.name, note));
}

function testSection(test, number) {
  const host = element("section", {});
  const name = `test ${number}`;
  const scene = sceneOf(name);
  const draw = () => {
    scene.canvases.clear();
    const record = test.records[look.record.get(name) ?? 0];
    const images = imagesOf(record);
    host.replaceChildren(
      element("h2", {}, `Restored: ${[test.dataset, test.manner].filter(Boolean).join(" ")}`),
      element("div", { class: "controls" },
        choice("Record", test.records.map((one, place) => [String(place), one.name]), String(look.record.get(name) ?? 0),
          (place) => { look.record.set(name, Number(place)); draw(); }),
        scene.controls(),
        checkbox("error maps", look.errors, (on) => { look.errors = on; draw(); }),
        choice("brightest at", [["1", "255"], ["4", "64"], ["8", "32"], ["16", "16"]], String(look.gain), (gain) => { look.gain = Number(gain); draw(); })),
      slider(scene, images),
      element("div", { class: "tiles" }, images.map((image) => tile(scene, image, record.truth))));
  };
  draw();
  return host;
}

function gridSection() {
  const grids = report.grids.filter(({ arm }) => state.shown.has(arm));
  if (!grids.length) return null;
  const scene = sceneOf("grids");
  scene.canvases.clear();
  return element("section", {},
    element("h2", {}, "Samples"),
    element("p", {}, "The newest picture of each run; runs of one seed and family have the same latents, or the same images, at the same places."),
    element("div", { class: "controls" }, scene.controls()),
    element("div", { class: "tiles wide" }, grids.map((grid) => {
      let sources = [];
      const canvas = scene.canvas(`samples of ${nameOf(grid)}`, () => sources);
      picture(grid.picture).then((source) => { sources = [{ source, from: 0, to: 1 }]; canvas.paint(); });
      return element("figure", {}, canvas, element("figcaption", {}, key(grid.arm), " ", nameOf(grid)));
    })));
}

function picturesPanel(host) {
  const draw = () => {
    const parts = [...report.tests.map(testSection), gridSection()].filter(Boolean);
    host.replaceChildren(
      element("p", { class: "hint" }, "Focus a picture, then scroll or press + and − to zoom, drag or press arrows to move, 0 to see all of it; pictures of one part move together. " +
        "Of restored images the middle is shown, without loss; numbers below them are of the whole record unless they say otherwise."),
      ...(parts.length ? parts : [element("p", {}, "No row shown in detail has pictures.")]));
  };
  draw();
  return draw;
}
