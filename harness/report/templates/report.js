"use strict";
// Sorts tables on a click, and opens folded sections for print. The page is complete without it.
const valueOf = (row, column) => {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number.parseFloat(text);
  return { text, number: /^[+-]?[\d.]/.test(text) ? number : Number.NaN };
};
const compare = (one, other) => {
  const numbers = Number.isNaN(one.number) - Number.isNaN(other.number);
  if (numbers !== 0) return numbers;
  return Number.isNaN(one.number) ? one.text.localeCompare(other.text) : one.number - other.number;
};
const sort = (table, header) => {
  const falling = header.getAttribute("aria-sort") === "ascending";
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const body = table.tBodies[0];
  const keyed = [...body.rows].map((row) => [valueOf(row, header.cellIndex), row]);
  keyed.sort(([one], [other]) => (falling ? compare(other, one) : compare(one, other)));
  body.append(...keyed.map(([, row]) => row));
};
for (const table of document.querySelectorAll("table.sortable")) {
  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(table, header));
    header.append(button);
  }
}
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const section of folded) section.open = true;
});
addEventListener("afterprint", () => {
  for (const section of folded) section.open = false;
});
