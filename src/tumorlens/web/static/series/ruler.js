// Distances on the picture: in mm where the file states its pixels, else in pixels.

const LINE = "#ffd600";
const SHORTEST = 1;

export function lengthOf({ from, to }, view) {
  const [down, across] = view.spacing ?? [1, 1];
  return Math.hypot((to[0] - from[0]) * down, (to[1] - from[1]) * across);
}

export function lengthText(ruler, view) {
  return `${lengthOf(ruler, view).toFixed(1)} ${view.spacing ? "mm" : "pixels"}`;
}

// Ends the ruler that is being drawn; one shorter than a pixel was a slip.
export function finishRuler(pane, to, addRuler) {
  const ruler = { ...pane.pending, to };
  pane.pending = null;
  const moved = Math.hypot(ruler.to[0] - ruler.from[0], ruler.to[1] - ruler.from[1]);
  if (moved >= SHORTEST) addRuler(ruler);
}

// Draws the rulers of a slice; tells whether there were any.
export function drawRulers(pane, slice) {
  const { view, state, context } = pane;
  const here = state.rulers.filter((one) => one.view === view && one.slice === slice);
  if (pane.pending && pane.pending.slice === slice) here.push(pane.pending);
  const density = window.devicePixelRatio || 1;
  for (const ruler of here) {
    const [x0, y0] = pane.onInk(ruler.from);
    const [x1, y1] = pane.onInk(ruler.to);
    for (const [color, width] of [["rgb(0 0 0 / 60%)", 4], [LINE, 2]]) {
      context.strokeStyle = color;
      context.lineWidth = width * density;
      context.beginPath();
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
      context.stroke();
    }
    context.fillStyle = LINE;
    for (const [x, y] of [[x0, y0], [x1, y1]]) {
      context.beginPath();
      context.arc(x, y, 3.5 * density, 0, 2 * Math.PI);
      context.fill();
    }
    if (isSeen(pane.ink, [x0, x1], [y0, y1])) {
      drawLabel(pane, lengthText(ruler, view), (x0 + x1) / 2, (y0 + y1) / 2, density);
    }
  }
  return here.length > 0;
}

// A ruler that was zoomed out of sight leaves no label at the edge.
function isSeen({ width, height }, xs, ys) {
  return (
    Math.max(...xs) >= 0 && Math.min(...xs) <= width && Math.max(...ys) >= 0 && Math.min(...ys) <= height
  );
}

function drawLabel({ context, ink }, text, x, y, density) {
  context.font = `600 ${13 * density}px system-ui, sans-serif`;
  const width = context.measureText(text).width + 10 * density;
  const height = 20 * density;
  const left = Math.min(ink.width - width, Math.max(0, x + 8 * density));
  const top = Math.min(ink.height - height, Math.max(0, y - height - 6 * density));
  context.fillStyle = "rgb(0 0 0 / 75%)";
  context.fillRect(left, top, width, height);
  context.fillStyle = "#fff";
  context.textBaseline = "middle";
  context.fillText(text, left + 5 * density, top + height / 2);
}

// The list of measurements beside the picture, each to be shown again or removed.
export class RulerList {
  constructor(list, hint, state, show) {
    this.list = list;
    this.hint = hint;
    this.state = state;
    this.show = show;
  }

  add(ruler) {
    this.state.rulers.push(ruler);
    const name = ruler.view.plane ?? "series";
    const item = document.createElement("li");
    const go = document.createElement("button");
    go.type = "button";
    go.className = "button small ruler-go";
    go.textContent = `${lengthText(ruler, ruler.view)}, ${name} slice ${ruler.slice + 1}`;
    go.addEventListener("click", () => this.show(ruler));
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "button plain small";
    remove.textContent = "Remove";
    remove.setAttribute("aria-label", `Remove the measurement of ${go.textContent}`);
    remove.addEventListener("click", () => {
      this.state.rulers = this.state.rulers.filter((one) => one !== ruler);
      item.remove();
      this.state.changed();
    });
    item.append(go, remove);
    this.list.append(item);
    this.state.changed();
  }
}
