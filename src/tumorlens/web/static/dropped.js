// The files of a drop, those inside dropped folders too.

export async function droppedFiles(transfer) {
  // Entries must be taken at once: the transfer is empty after the first wait.
  const entries = [...transfer.items]
    .map((item) => item.webkitGetAsEntry?.())
    .filter((entry) => entry);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = [];
  for (const entry of entries) await gather(entry, found);
  return found;
}

async function gather(entry, found) {
  if (entry.name.startsWith(".")) return;
  if (entry.isFile) {
    found.push(await new Promise((done, fail) => entry.file(done, fail)));
    return;
  }
  const reader = entry.createReader();
  // A reader gives a folder's entries in portions, and an empty one at the end.
  for (;;) {
    const portion = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (portion.length === 0) return;
    for (const inner of portion) await gather(inner, found);
  }
}
