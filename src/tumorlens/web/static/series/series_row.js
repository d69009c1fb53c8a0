// The row of a study's series: on a narrow screen the one shown may lie off its end.

export function showChosen() {
  const chosen = document.querySelector(".series-link[aria-current]");
  const row = chosen?.closest("ul");
  if (!row) return;
  const [inside, around] = [chosen, row].map((one) => one.getBoundingClientRect());
  // Of the row alone: the page stays where it is.
  row.scrollLeft += inside.left + inside.width / 2 - around.left - around.width / 2;
}
