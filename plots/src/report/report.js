"use strict";
// Click on a header: sort by its column; again: the other way round. Without this script the
// tables stay as they are.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, index) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const rows = Array.from(body.rows);
      rows.sort((a, b) => order(a.cells[index], b.cells[index], down ? -1 : 1));
      rows.forEach((row) => body.appendChild(row));
    });
  });
}
// Numbers by value, then texts; cells without a value last in either direction.
function order(a, b, sign) {
  const x = a.dataset.value, y = b.dataset.value;
  if (x !== undefined && y !== undefined) return sign * (Number(x) - Number(y));
  if (x !== undefined) return -1;
  if (y !== undefined) return 1;
  return sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
}
