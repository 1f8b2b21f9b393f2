// Tables sort by a click on a head: numbers as numbers, missing values last, a third click is the order as written.
// Rows of references keep their places; what stands below a rule is another tbody, which is left alone.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const body = table.tBodies[0], written = [...body.rows];
  const own = written.filter(row => !row.classList.contains("reference"));
  heads.forEach((head, place) => {
    const number = own.some(row => row.cells[place].dataset.v);
    const turns = number ? ["descending", "ascending"] : ["ascending", "descending"];
    const value = row => {
      const cell = row.cells[place], text = cell.textContent.trim();
      return number ? Number(cell.dataset.v ?? NaN) : text === "–" ? "" : text;
    };
    const missing = v => v === "" || Number.isNaN(v);
    const button = document.createElement("button");
    button.type = "button";
    button.title = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const turn = turns[turns.indexOf(head.getAttribute("aria-sort")) + 1];
      heads.forEach(other => other.removeAttribute("aria-sort"));
      const sorted = [...own], sign = turn === "ascending" ? 1 : -1;
      if (turn) {
        head.setAttribute("aria-sort", turn);
        sorted.sort((a, b) => {
          const [x, y] = [value(a), value(b)];
          if (missing(x) || missing(y)) return missing(x) - missing(y);
          return sign * (number ? x - y : x.localeCompare(y, "en", {numeric: true}));
        });
      }
      body.append(...written.map(row => own.includes(row) ? sorted.shift() : row));
    });
  });
}
const shut = () => [...document.querySelectorAll("details:not([open])")];
let opened = [];
addEventListener("beforeprint", () => { opened = shut(); opened.forEach(part => part.open = true); });
addEventListener("afterprint", () => { opened.forEach(part => part.open = false); });
