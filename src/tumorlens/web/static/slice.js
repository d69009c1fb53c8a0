import { frameTool } from "./frame.js";

// The picture's overlay: how strong it is, and which one is downloaded.
// Which one is shown is decided by the radio buttons and the style sheet alone.

const stage = document.querySelector("#stage");
const slider = document.querySelector("#opacity");
const readout = document.querySelector("#opacity-value");
const link = document.querySelector("#overlay-link");

function setOpacity() {
  const percent = `${slider.value} %`;
  stage.style.setProperty("--opacity", slider.value / 100);
  readout.textContent = percent;
  slider.setAttribute("aria-valuetext", percent);
}

function setKind(kind) {
  const address = new URL(link.href);
  // With no overlay there is nothing to download: the last one stays linked.
  if (kind !== "none") address.searchParams.set("kind", kind);
  link.href = address.pathname + address.search;
  slider.disabled = kind === "none";
}

// A refused picture has neither.
if (slider) {
  // The browser may have kept both from an earlier visit.
  setOpacity();
  setKind(document.querySelector("input[name=kind]:checked").value);
  slider.addEventListener("input", setOpacity);
}
for (const choice of document.querySelectorAll("input[name=kind]")) {
  choice.addEventListener("change", () => setKind(choice.value));
}
frameTool(stage);
document.documentElement.classList.add("scripted");
