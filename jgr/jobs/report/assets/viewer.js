// Canvases that look at the same part of their pictures: a zoom or a move of one is one of all.

const decoded = new Map();

// The picture at a place of the gallery, decoded once.
function picture(place) {
  if (!decoded.has(place)) {
    const image = new Image();
    image.src = `data:image/webp;base64,${report.pictures[place]}`;
    decoded.set(place, image.decode().then(() => image));
  }
  return decoded.get(place);
}

class Scene {
  constructor() {
    this.canvases = new Set();
    this.reset();
  }

  reset() {
    [this.zoom, this.x, this.y] = [1, 0.5, 0.5];
    this.paint();
  }

  // Around a point of the picture, given in shares of its size.
  zoomBy(factor, x = this.x, y = this.y) {
    const zoom = Math.min(32, Math.max(1, this.zoom * factor));
    [this.x, this.y] = [x + (this.x - x) * (this.zoom / zoom), y + (this.y - y) * (this.zoom / zoom)];
    this.zoom = zoom;
    this.moveBy(0, 0);
  }

  moveBy(x, y) {
    const margin = 0.5 / this.zoom;
    const kept = (value) => Math.min(1 - margin, Math.max(margin, value));
    [this.x, this.y] = [kept(this.x + x), kept(this.y + y)];
    this.paint();
  }

  paint() {
    for (const canvas of this.canvases) canvas.paint();
  }

  // A canvas that shows layers [{source, from, to}], each between two shares of its width.
  canvas(label, layers) {
    const canvas = element("canvas", { tabindex: 0, role: "img", "aria-label": label });
    canvas.layers = layers;
    canvas.paint = () => paint(canvas, this);
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas) return; // the page scrolls on
      event.preventDefault();
      const [x, y] = this.pointOf(canvas, event);
      this.zoomBy(event.deltaY < 0 ? 1.25 : 0.8, x, y);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); canvas.drag = true; });
    canvas.addEventListener("pointermove", (event) => {
      if (!canvas.drag || canvas.taken) return;
      const { width, height } = canvas.getBoundingClientRect();
      this.moveBy(-event.movementX / width / this.zoom, -event.movementY / height / this.zoom);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { canvas.drag = false; });
    canvas.addEventListener("dblclick", () => this.reset());
    canvas.addEventListener("keydown", (event) => {
      const move = 0.1 / this.zoom;
      const actions = {
        "+": () => this.zoomBy(1.5), "=": () => this.zoomBy(1.5), "-": () => this.zoomBy(1 / 1.5), 0: () => this.reset(),
        ArrowLeft: () => this.moveBy(-move, 0), ArrowRight: () => this.moveBy(move, 0),
        ArrowUp: () => this.moveBy(0, -move), ArrowDown: () => this.moveBy(0, move),
      };
      if (event.ctrlKey || event.metaKey || event.altKey || !actions[event.key]) return;
      event.preventDefault();
      actions[event.key]();
    });
    this.canvases.add(canvas);
    new ResizeObserver(() => canvas.paint()).observe(canvas);
    return canvas;
  }

  pointOf(canvas, event) {
    const box = canvas.getBoundingClientRect();
    return [
      this.x + ((event.clientX - box.left) / box.width - 0.5) / this.zoom,
      this.y + ((event.clientY - box.top) / box.height - 0.5) / this.zoom,
    ];
  }

  controls() {
    return [button("+", () => this.zoomBy(1.5), { "aria-label": "Zoom in", "data-zoom": "in" }),
      button("−", () => this.zoomBy(1 / 1.5), { "aria-label": "Zoom out" }), button("1:1", () => this.reset(), { "aria-label": "Show all" })];
  }
}

function paint(canvas, { zoom, x, y }) {
  const layers = canvas.layers();
  if (!layers.length || !canvas.clientWidth) return;
  const { naturalWidth, naturalHeight, width, height } = layers[0].source;
  canvas.style.aspectRatio = `${naturalWidth ?? width} / ${naturalHeight ?? height}`;
  const pixels = Math.round(canvas.clientWidth * devicePixelRatio);
  const rows = Math.round(canvas.clientHeight * devicePixelRatio);
  if (canvas.width !== pixels || canvas.height !== rows) [canvas.width, canvas.height] = [pixels, rows];
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, pixels, rows);
  for (const { source, from, to } of layers) {
    const [w, h] = [source.naturalWidth ?? source.width, source.naturalHeight ?? source.height];
    context.imageSmoothingEnabled = (pixels * zoom) / w < 1; // enlarged pixels stay pixels
    context.save();
    context.beginPath();
    context.rect(from * pixels, 0, (to - from) * pixels, rows);
    context.clip();
    context.drawImage(source, (x - 0.5 / zoom) * w, (y - 0.5 / zoom) * h, w / zoom, h / zoom, 0, 0, pixels, rows);
    context.restore();
  }
}

function pixelsOf(image) {
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

const HEAT = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

function heat(share) {
  const place = Math.min(1, share) * (HEAT.length - 1);
  const low = Math.min(HEAT.length - 2, Math.floor(place));
  return HEAT[low].map((value, channel) => value + (HEAT[low + 1][channel] - value) * (place - low));
}

// |image - truth|, the mean of channels: a picture of it, where 255 / gain is brightest, its mean, and the PSNR in dB.
function errorMap(image, truth, gain) {
  const [one, other] = [pixelsOf(image), pixelsOf(truth)];
  const canvas = new OffscreenCanvas(one.width, one.height);
  const shown = new ImageData(one.width, one.height);
  let [total, squares] = [0, 0];
  for (let at = 0; at < one.data.length; at += 4) {
    let sum = 0;
    for (let channel = 0; channel < 3; channel += 1) {
      const gap = Math.abs(one.data[at + channel] - other.data[at + channel]);
      sum += gap;
      squares += gap * gap;
    }
    total += sum / 3;
    shown.data.set([...heat((sum / 3 / 255) * gain), 255], at);
  }
  canvas.getContext("2d").putImageData(shown, 0, 0);
  const count = one.data.length / 4;
  return { canvas, mean: total / count, psnr: 10 * Math.log10(255 ** 2 / (squares / count / 3)) };
}
