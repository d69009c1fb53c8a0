// Drop, paste or choose. Pictures are sent one by one, and shown when done; the
// files of a scan are sent together, and the scan's page takes over.

import { bindResults } from "./results.js";
import { isScan, sendScan } from "./series/send.js";

const AT_A_TIME = 2;
const form = document.querySelector("#upload");
const drop = document.querySelector("#drop");
const input = document.querySelector("#file");
const folder = document.querySelector("#folder");
const panel = document.querySelector("#progress");
const title = document.querySelector("#progress-title");
const bar = document.querySelector("#progress-bar");
const said = document.querySelector("#progress-text");
const list = document.querySelector("#progress-list");
const stop = document.querySelector("#stop");
const limit = Number(form.dataset.limitMb);

let running = null;

// With its folders: files of the same name are told apart by them.
const paths = new WeakMap();
function nameOf(file) {
  const path = paths.get(file) || file.webkitRelativePath || file.name;
  return path.replace(/^\//, "") || "pasted picture.png";
}

function row(name) {
  const item = document.createElement("li");
  const label = document.createElement("span");
  label.className = "progress-name";
  label.textContent = name;
  const state = document.createElement("span");
  state.className = "progress-state quiet";
  state.textContent = "waiting";
  item.append(label, state);
  list.append(item);
  return { item, label, state };
}

function showResult(line, analyses) {
  const [first] = analyses;
  const link = document.createElement("a");
  link.href = first.url;
  link.textContent = first.name;
  line.label.replaceChildren(link);
  line.state.className = "progress-state";
  line.state.replaceChildren(
    ...analyses.map((analysis) => {
      const chip = document.createElement(analyses.length > 1 ? "a" : "span");
      if (analyses.length > 1) chip.href = analysis.url;
      chip.className = `chip chip-${analysis.decision}`;
      chip.textContent = analysis.title;
      return chip;
    }),
  );
  if (first.p_tumor && analyses.length === 1) {
    const share = document.createElement("span");
    share.className = "quiet";
    share.textContent = `any tumour: ${first.p_tumor}`;
    line.state.append(share);
  }
}

function showFailure(line, message, mend) {
  line.item.classList.add("failed");
  line.state.className = "progress-state";
  line.state.textContent = `${message} ${mend}`.trim();
}

async function send(file, line, signal) {
  if (file.size > limit * 1024 * 1024) {
    showFailure(line, `It is larger than ${limit} MB.`, "Give a smaller picture.");
    return null;
  }
  const body = new FormData();
  body.append("file", file, nameOf(file));
  const point = form.querySelector("input[name=operating_point]:checked");
  if (point) body.append("operating_point", point.value);
  line.state.textContent = "reading";
  try {
    const response = await fetch(form.action, {
      method: "POST",
      body,
      signal,
      headers: { Accept: "application/json" },
    });
    const answer = await response.json();
    if (answer.error) {
      showFailure(line, answer.error.message, answer.error.mend);
      return null;
    }
    for (const failure of answer.failures) {
      showFailure(line, failure.message, failure.mend);
    }
    if (answer.analyses.length === 0) return null;
    showResult(line, answer.analyses);
    return answer.analyses;
  } catch (error) {
    if (signal.aborted) line.state.textContent = "stopped";
    else showFailure(line, "The server does not answer.", "Is TumorLens still running?");
    return null;
  }
}

async function renewList() {
  const response = await fetch(location.href);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  document.querySelector("#done").replaceWith(page.querySelector("#done"));
  document.querySelector("#done").after(document.querySelector("#examples"));
  bindResults();
}

async function analyse(files) {
  if (files.length === 0 || running) return;
  running = new AbortController();
  const { signal } = running;
  list.replaceChildren();
  panel.hidden = false;
  stop.hidden = false;
  title.textContent = files.length === 1 ? "Reading one picture" : `Reading ${files.length} pictures`;
  bar.max = files.length;
  bar.value = 0;
  said.textContent = "";
  title.focus();
  const lines = files.map((file) => row(nameOf(file)));
  const judged = [];
  let next = 0;
  let failed = 0;

  async function work() {
    while (next < files.length && !signal.aborted) {
      const index = next++;
      const analyses = await send(files[index], lines[index], signal);
      if (signal.aborted) return;
      if (analyses) judged.push(...analyses);
      else failed += 1;
      bar.value += 1;
      said.textContent =
        `${bar.value} of ${files.length} done` + (failed ? `, ${failed} could not be read` : "");
    }
  }

  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  if (signal.aborted) {
    for (const line of lines) {
      if (line.state.textContent === "waiting") line.state.textContent = "stopped";
    }
    said.textContent = `Stopped: ${bar.value} of ${files.length} done.`;
  }
  running = null;
  stop.hidden = true;
  input.value = "";
  title.textContent = signal.aborted ? "Stopped" : failed === files.length ? "Could not be read" : "Done";
  if (files.length === 1 && judged.length === 1) location.assign(judged[0].url);
  else await renewList();
}

async function take(files) {
  if (running || files.length === 0) return;
  if (!isScan(files)) {
    await analyse(files);
    return;
  }
  running = new AbortController();
  const { signal } = running;
  list.replaceChildren();
  panel.hidden = false;
  stop.hidden = false;
  title.textContent = "Sending the scan";
  said.textContent = "";
  bar.max = 1;
  bar.value = 0;
  title.focus();
  const line = row(files.length === 1 ? files[0].name : `${files.length} files`);
  line.state.textContent = "sending";
  const point = form.querySelector("input[name=operating_point]:checked");
  try {
    const page = await sendScan(form.dataset, files, point?.value, signal, (share) => {
      bar.value = share;
    });
    location.assign(page);
    return;
  } catch (problem) {
    title.textContent = signal.aborted ? "Stopped" : "Could not be sent";
    if (signal.aborted) line.state.textContent = "stopped";
    else showFailure(line, problem.message, problem.mend ?? "");
    said.textContent = signal.aborted ? "Stopped." : "The scan could not be sent.";
  }
  running = null;
  stop.hidden = true;
  input.value = "";
  folder.value = "";
}

input.addEventListener("change", () => take([...input.files]));
folder.addEventListener("change", () => {
  const seen = [...folder.files].filter((file) => !file.name.startsWith("."));
  take(seen);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  take([...input.files]);
});
stop.addEventListener("click", () => {
  running?.abort();
  title.focus();
});

document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length > 0) {
    event.preventDefault();
    take(files);
  }
});

// The whole page takes a drop: a picture let go beside the field would otherwise
// replace the page.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) drop.classList.remove("over");
});
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  take(await droppedFiles(event.dataTransfer));
});

// The files of a drop, those inside dropped folders too.

async function droppedFiles(transfer) {
  // Entries must be taken at once: the transfer is empty after the first wait.
  const entries = [...transfer.items]
    .map((item) => item.webkitGetAsEntry?.())
    .filter((entry) => entry);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const files = [];
  for (const entry of entries) await gather(entry, files);
  return files;
}

async function gather(entry, files) {
  if (entry.name.startsWith(".")) return;
  if (entry.isFile) {
    const file = await new Promise((done, fail) => entry.file(done, fail));
    paths.set(file, entry.fullPath);
    files.push(file);
    return;
  }
  const reader = entry.createReader();
  // A reader gives a folder's entries in portions, and an empty one at the end.
  for (;;) {
    const portion = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (portion.length === 0) return;
    for (const inner of portion) await gather(inner, files);
  }
}

bindResults();
document.documentElement.classList.add("scripted");
