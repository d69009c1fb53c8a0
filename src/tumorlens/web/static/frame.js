// A frame on the picture: drawn with a pointer, moved by keys, or set by its edges.

const LEAST = 32;
// Pixels of the screen within which a corner is taken hold of: a fingertip.
const REACH = 24;
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

export function frameTool(stage) {
  const tool = document.querySelector("#frame-tool");
  const layer = document.querySelector("#frame");
  const box = document.querySelector("#frame-box");
  const shade = document.querySelector("#frame-shade");
  const corners = document.querySelector("#frame-corners");
  const { width, height } = layer.viewBox.baseVal;
  const fields = ["x0", "y0", "x1", "y1"].map((name) => document.querySelector(`#frame-${name}`));
  let start = null;

  function edges() {
    const [x0, y0, x1, y1] = fields.map((field) => Number(field.value));
    return { x0, y0, x1, y1 };
  }

  function draw() {
    const { x0, y0, x1, y1 } = edges();
    const across = Math.max(0, x1 - x0);
    const down = Math.max(0, y1 - y0);
    for (const [name, value] of Object.entries({ x: x0, y: y0, width: across, height: down })) {
      box.setAttribute(name, value);
    }
    corners.setAttribute("d", `M${x0} ${y0}h0M${x1} ${y0}h0M${x1} ${y1}h0M${x0} ${y1}h0`);
    shade.setAttribute("d", `M0 0h${width}v${height}h${-width}z M${x0} ${y0}v${down}h${across}v${-down}z`);
  }

  function set(x0, y0, x1, y1) {
    const rounded = [x0, y0, x1, y1].map(Math.round);
    fields.forEach((field, at) => {
      field.value = rounded[at];
    });
    draw();
  }

  // In pixels of the picture, however large it is shown.
  function under(event) {
    const point = new DOMPoint(event.clientX, event.clientY);
    const { x, y } = point.matrixTransform(layer.getScreenCTM().inverse());
    return [clamp(x, 0, width), clamp(y, 0, height)];
  }

  // Of a frame that was drawn, the corner across from the one under the pointer.
  function opposite(event) {
    const { x0, y0, x1, y1 } = edges();
    if (x0 === 0 && y0 === 0 && x1 === width && y1 === height) return null;
    const matrix = layer.getScreenCTM();
    for (const [x, y] of [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) {
      const at = new DOMPoint(x, y).matrixTransform(matrix);
      if (Math.hypot(at.x - event.clientX, at.y - event.clientY) < REACH) {
        return [x0 + x1 - x, y0 + y1 - y];
      }
    }
    return null;
  }

  layer.addEventListener("pointerdown", (event) => {
    // A second finger would tear the frame.
    if (event.button !== 0 || !event.isPrimary) return;
    layer.setPointerCapture(event.pointerId);
    start = opposite(event) ?? under(event);
    event.preventDefault();
  });
  layer.addEventListener("pointermove", (event) => {
    if (!start || !event.isPrimary) return;
    const [x, y] = under(event);
    set(Math.min(x, start[0]), Math.min(y, start[1]), Math.max(x, start[0]), Math.max(y, start[1]));
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    layer.addEventListener(kind, () => {
      if (!start) return;
      start = null;
      const { x0, y0, x1, y1 } = edges();
      // A click was no frame.
      if (x1 - x0 < LEAST || y1 - y0 < LEAST) set(0, 0, width, height);
      else box.focus({ preventScroll: true });
    });
  }

  box.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const stride = Math.max(1, Math.round(Math.max(width, height) / 50));
    const [dx, dy] = step.map((at) => at * stride);
    const { x0, y0, x1, y1 } = edges();
    if (event.shiftKey) {
      set(x0, y0, clamp(x1 + dx, x0 + LEAST, width), clamp(y1 + dy, y0 + LEAST, height));
    } else {
      const [right, down] = [clamp(dx, -x0, width - x1), clamp(dy, -y0, height - y1)];
      set(x0 + right, y0 + down, x1 + right, y1 + down);
    }
  });
  for (const field of fields) field.addEventListener("input", draw);

  function show() {
    layer.toggleAttribute("hidden", !tool.open);
    stage.classList.toggle("framing", tool.open);
    draw();
  }
  tool.addEventListener("toggle", show);
  show();
}
