// Tables sort by the column whose head is pressed: numbers the largest first, text from A; what is missing comes last.
"use strict";

const collator = new Intl.Collator(undefined, { numeric: true });

function valueOf(row, column, isNumber) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  return isNumber ? parseFloat(text.replaceAll(",", "").replace("#", "")) : text;
}

function compare(one, other, isNumber, sign) {
  const missing = (value) => (isNumber ? Number.isNaN(value) : value === "\u2013");
  if (missing(one) || missing(other)) return missing(one) - missing(other);
  return sign * (isNumber ? one - other : collator.compare(one, other));
}

function sort(table, head) {
  const column = head.cellIndex;
  const isNumber = head.classList.contains("n");
  const first = isNumber ? "descending" : "ascending";
  const order = head.ariaSort === first ? (isNumber ? "ascending" : "descending") : first;
  for (const other of head.parentElement.cells) other.ariaSort = null;
  head.ariaSort = order;
  const sign = order === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, value: valueOf(row, column, isNumber) }));
  rows.sort((one, other) => compare(one.value, other.value, isNumber, sign));
  table.tBodies[0].append(...rows.map(({ row }) => row));
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, head));
  }
}
