// What wheel, mouse and fingers do on a picture.

import { ZOOM_STEP, steerByKeys } from "./keys.js";
import { Pinch } from "./pinch.js";
import { finishRuler } from "./ruler.js";

const SMALL_WHEEL = 50;
const WHEEL_PIXELS = 24;
const ZOOM_PIXELS = 100;
const CLICK_PIXELS = 4;
const TWICE_PIXELS = 12;
const TWICE_MS = 400;
const BUTTON_TOOLS = { 1: "pan", 2: "window" };

export function steer(pane, state, { setWindow, addRuler }) {
  const { canvas, view } = pane;
  const pinch = new Pinch(pane);
  let wheeled = 0;
  let drag = null;
  let clicked = null;

  const step = (count) => state.goTo(view, pane.slice + count);
  steerByKeys(pane, state, step, addRuler);

  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const { deltaY, deltaMode } = event;
      const whole = deltaMode !== 0 || Math.abs(deltaY) >= SMALL_WHEEL;
      // Pinching a touch pad arrives as a wheel with the control key.
      if (event.ctrlKey) {
        const factor = whole ? ZOOM_STEP ** -Math.sign(deltaY) : Math.exp(-deltaY / ZOOM_PIXELS);
        pane.zoomBy(factor, event);
        return;
      }
      if (whole) {
        wheeled = 0;
        step(Math.sign(deltaY));
        return;
      }
      wheeled += deltaY;
      const slices = Math.trunc(wheeled / WHEEL_PIXELS);
      wheeled -= slices * WHEEL_PIXELS;
      if (slices !== 0) step(slices);
    },
    { passive: false },
  );

  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  // The middle button would scroll the page, or paste.
  for (const kind of ["mousedown", "auxclick"]) {
    canvas.addEventListener(kind, (event) => {
      if (event.button === 1) event.preventDefault();
    });
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    event.preventDefault();
    if (pinch.down(event)) {
      drag = null;
      pane.pending = null;
      state.changed();
      return;
    }
    if (drag) return;
    const tool = BUTTON_TOOLS[event.button] ?? state.tool;
    drag = {
      id: event.pointerId,
      tool,
      x: event.clientX,
      y: event.clientY,
      slice: pane.slice,
      low: state.low,
      high: state.high,
      moved: false,
    };
    if (tool === "measure") {
      const place = pane.under(event);
      pane.pending = { view, slice: pane.slice, from: place, to: place };
    }
  });

  canvas.addEventListener("pointermove", (event) => {
    if (pinch.move(event)) return;
    if (!drag || event.pointerId !== drag.id) return;
    const dx = event.clientX - drag.x;
    const dy = event.clientY - drag.y;
    if (Math.hypot(dx, dy) >= CLICK_PIXELS) drag.moved = true;
    if (!drag.moved) return;
    if (drag.tool === "window") setWindow(drag, dx, dy, canvas.clientWidth);
    if (drag.tool === "pan") {
      pane.panBy(dx, dy);
      [drag.x, drag.y] = [event.clientX, event.clientY];
    }
    if (drag.tool === "scroll") {
      // The whole series lies within the picture's height, but a slice is never
      // less than a few pixels.
      const pixels = Math.max(3, Math.min(12, canvas.clientHeight / view.count));
      state.goTo(view, drag.slice + Math.round(dy / pixels));
    }
    if (drag.tool === "measure" && pane.pending) {
      pane.pending.to = pane.under(event);
      state.changed();
    }
  });

  function end(event) {
    pinch.up(event);
    if (!drag || event.pointerId !== drag.id) return;
    const { tool, moved } = drag;
    drag = null;
    const released = event.type === "pointerup";
    if (tool === "measure" && pane.pending) {
      if (released && moved) finishRuler(pane, pane.under(event), addRuler);
      else pane.pending = null;
    }
    if (released && !moved && event.button === 0) click(event, tool);
    else clicked = null;
    state.changed();
  }
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);

  // Browsers tell of double taps in many ways, so both kinds are told here.
  function click(event, tool) {
    const { clientX: x, clientY: y, timeStamp: time } = event;
    const twice =
      clicked &&
      time - clicked.time < TWICE_MS &&
      Math.hypot(x - clicked.x, y - clicked.y) < TWICE_PIXELS;
    clicked = twice ? null : { x, y, time };
    if (twice) pane.resetZoom();
    else if (tool !== "window") {
      const [row, column] = pane.under(event);
      state.moveTo(view.toBlock([pane.slice, Math.round(row), Math.round(column)]));
    }
  }
}
