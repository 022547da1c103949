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
      body.append(...rows);
    });
  });
}
// Numbers by value, then texts; cells without a value last in either direction.
function order(a, b, sign) {
  if (!a || !b) return a ? -1 : b ? 1 : 0;
  const x = a.dataset.value, y = b.dataset.value;
  if (x !== undefined && y !== undefined) return sign * (Number(x) - Number(y));
  if (x !== undefined) return -1;
  if (y !== undefined) return 1;
  return sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
}
// The verdicts of one experiment, or only those that do not hold.
for (const filter of document.querySelectorAll(".filter")) {
  const [select, box, count] = ["select", "input", "output"].map((name) => filter.querySelector(name));
  const rows = Array.from(filter.nextElementSibling.querySelectorAll("tbody tr"));
  const apply = () => {
    let shown = 0;
    for (const row of rows) {
      const wanted = !select.value || row.dataset.experiment === select.value;
      row.hidden = !wanted || (box.checked && row.dataset.verdict !== "fails");
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = shown + " of " + rows.length + " rows";
  };
  select.addEventListener("change", apply);
  box.addEventListener("change", apply);
  filter.hidden = false;
  apply();
}
