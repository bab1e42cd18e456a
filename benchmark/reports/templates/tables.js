  // the namespace of SVG elements looks like a URL, and the page has none
  const SVG = document.getElementById("tip")?.nextElementSibling.namespaceURI;
  const byId = (id) => document.getElementById(id);

  function make(name, attributes = {}, ...children) {
    const svg = ["svg", "g", "line", "path", "text", "circle", "rect"].includes(name);
    const node = svg ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  // ---- tables
  function sortKey(cell) {
    const text = cell.dataset.value ?? cell.textContent.trim();
    const number = parseFloat(text);
    return Number.isNaN(number) ? text.toLowerCase() : number;
  }
  function sortBy(table, index, direction) {
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row, place) => [sortKey(row.cells[index]), place, row]);
    const sign = direction === "ascending" ? 1 : -1;
    keyed.sort(([a, i], [b, j]) => {
      if ((a === "") !== (b === "")) return a === "" ? 1 : -1;
      if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
      return sign * (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true })) || i - j;
    });
    body.append(...keyed.map(([, , row]) => row));
    [...table.tHead.rows[0].cells].forEach((cell, i) => i === index ? cell.setAttribute("aria-sort", direction) : cell.removeAttribute("aria-sort"));
  }
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((cell, index) => cell.firstChild.addEventListener("click", () => {
      // numbers start with the largest, words in alphabetical order
      const numeric = [...table.tBodies[0].rows].some((row) => typeof sortKey(row.cells[index]) === "number") && index > 0;
      const now = cell.getAttribute("aria-sort");
      const first = numeric ? "descending" : "ascending";
      const direction = now === first ? (first === "ascending" ? "descending" : "ascending") : first;
      sortBy(table, index, direction);
      table.dispatchEvent(new CustomEvent("sorted", { bubbles: true, detail: { title: cell.textContent, direction } }));
    }));
  }
