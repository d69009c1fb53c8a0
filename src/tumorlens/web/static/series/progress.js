// How far a scan is: asked for again and again, until its page has more to show.

import { showChosen } from "./series_row.js";

const panel = document.querySelector("#scan-progress");
const title = document.querySelector("#scan-state");
const bar = document.querySelector("#scan-bar");
const count = document.querySelector("#scan-count");
const said = document.querySelector("#scan-said");
const viewer = document.querySelector("#viewer");

const NAMES = {
  waiting: "Waiting for its turn",
  reading: "Reading the files",
  judging: "Judging every slice",
};
const ENDS = {
  done: "All series judged",
  failed: "Not judged to its end",
  stopped: "Stopped",
};
const TOGETHER = "Putting the results together";
const SOON_MS = 500;
const LATER_MS = 2000;

let judged = null;
let told = "";
let failures = 0;

// A listener hears each step and each quarter, and not every slice.
function tell(status) {
  const quarter = Math.floor(4 * (status.progress.fraction ?? 0));
  const key = `${status.state} ${quarter}`;
  if (key === told) return;
  told = key;
  const share = quarter ? `, ${25 * quarter} %` : "";
  said.textContent = `${NAMES[status.state] ?? ""}${share}`;
}

function show(status) {
  const { done, total, fraction } = status.progress;
  const last = status.state === "judging" && total > 0 && done === total;
  title.textContent = last ? TOGETHER : (NAMES[status.state] ?? title.textContent);
  if (fraction === null) bar.removeAttribute("value");
  else bar.value = fraction;
  count.textContent = total ? `${done} of ${total} slices` : "";
  tell(status);
}

// The list of series, and what can be taken away: a viewer in use stays as it is.
async function renew() {
  const response = await fetch(location.href);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of ["#series", "#downloads"]) {
    const fresh = page.querySelector(part);
    if (fresh) document.querySelector(part)?.replaceWith(fresh);
  }
  showChosen();
  return page;
}

// The card stays: without its room, the viewer would move under the pointer.
function finish(state, page) {
  // What the series say together stands on the page from the next time it is loaded.
  const together = page.querySelector(".together h2");
  title.textContent = together?.textContent ?? ENDS[state] ?? title.textContent;
  said.textContent = title.textContent;
  if (state === "done") bar.value = 1;
  count.textContent = "\u00a0"; // keeps the line's height
  if (together) {
    const more = document.createElement("a");
    more.href = location.href;
    more.textContent = "Show how the series add up";
    count.replaceChildren(more);
    count.removeAttribute("aria-hidden");
  }
  panel.querySelector("form").style.visibility = "hidden";
  panel.dataset.over = state;
}

async function ask() {
  const response = await fetch(panel.dataset.status, { headers: { Accept: "application/json" } });
  if (response.status === 404) return location.reload();
  const status = await response.json();
  const now = status.series.filter((item) => item.state === "done").length;
  const over = NAMES[status.state] === undefined;
  const grown = judged !== null && now !== judged;
  judged = now;
  // Where it is the last, what is left is the report: a moment.
  const left = now < status.series.length;
  if (!viewer && (over || (left && chosenIsDone(status)))) return location.reload();
  const page = over || grown ? await renew() : null;
  if (over) return finish(status.state, page);
  show(status);
  return setTimeout(poll, document.hidden ? LATER_MS : SOON_MS);
}

// Series are judged in the order in which the page chooses them.
function chosenIsDone(status) {
  const asked = new URLSearchParams(location.search).get("series");
  if (asked) return status.series[Number(asked) - 1]?.state === "done";
  return status.series.some((item) => item.state === "done");
}

async function poll() {
  try {
    await ask();
    failures = 0;
  } catch {
    failures += 1;
    said.textContent = "The server does not answer. Is TumorLens still running?";
    count.textContent = said.textContent;
    setTimeout(poll, Math.min(10_000, LATER_MS * failures));
  }
}

document.documentElement.classList.add("scripted");
poll();
