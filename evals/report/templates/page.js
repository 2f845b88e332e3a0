// Tables sort by their headers, and a print shows what is folded. Without this script, everything can still be read.
"use strict";

const words = JSON.parse(document.getElementById("words")?.textContent ?? "{}");

function sortable(table, label, sort) {
  // Each header's content becomes a button; `sort(column, descending)` orders the rows.
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.title = label.replace("{column}", head.textContent || button.textContent);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.ariaSort !== "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(column, descending);
    });
  });
}

function ordered(first, second) {
  // Numbers by their size; what has none stands last; other text by the alphabet.
  const [a, b] = [parseFloat(first), parseFloat(second)];
  if (!Number.isNaN(a) && !Number.isNaN(b)) return a - b;
  if (Number.isNaN(a) !== Number.isNaN(b)) return Number.isNaN(a) ? -1 : 1;
  return first.localeCompare(second);
}

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const text = (row, column) => (row.cells[column].firstChild?.textContent ?? "").trim();
  sortable(table, document.body.dataset.sort, (column, descending) => {
    const rows = [...body.rows].sort((a, b) => ordered(text(a, column), text(b, column)));
    body.append(...(descending ? rows.reverse() : rows));
  });
}

let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((details) => { details.open = true; });
});
addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));
