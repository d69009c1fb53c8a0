// The list of results: found by name and answer, sorted, and brought back.

const chosen = { name: "", answer: "", sort: "made" };

function compare(one, other) {
  const [a, b] = [one.dataset, other.dataset];
  if (chosen.sort === "name") return a.name.localeCompare(b.name, "en", { numeric: true });
  if (chosen.sort === "share") return Number(b.share ?? -1) - Number(a.share ?? -1);
  return Number(b.made) - Number(a.made);
}

function arrange() {
  const list = document.querySelector("#done .analyses");
  const rows = [...list.children];
  let shown = 0;
  for (const row of rows) {
    const { name, answer } = row.dataset;
    const fits =
      name.toLowerCase().includes(chosen.name.toLowerCase()) &&
      (!chosen.answer || answer === chosen.answer);
    row.hidden = !fits;
    if (fits) shown += 1;
  }
  list.append(...rows.sort(compare));
  const all = chosen.name === "" && chosen.answer === "";
  document.querySelector("#found").textContent = all ? "" : `${shown} of ${rows.length} shown`;
}

function bindFinder() {
  const fields = {
    name: document.querySelector("#find-name"),
    answer: document.querySelector("#find-answer"),
    sort: document.querySelector("#sort-by"),
  };
  if (!fields.name) return;
  for (const [key, field] of Object.entries(fields)) {
    field.value = chosen[key];
    // An answer that nothing has any more is no filter.
    if (field.selectedIndex === -1) field.value = chosen[key] = "";
    field.addEventListener("input", () => {
      chosen[key] = field.value;
      arrange();
    });
  }
  arrange();
}

function bindUndo() {
  const undo = document.querySelector("#undo");
  if (!undo) return;
  setTimeout(() => {
    undo.querySelector("button").remove();
    undo.querySelector("p").textContent = "Deleted.";
  }, 1000 * Number(undo.dataset.seconds));
}

// Anew each time the list is.
export function bindResults() {
  bindFinder();
  bindUndo();
}
