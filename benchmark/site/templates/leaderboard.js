"use strict";
(() => {
  {% include "tables.js" +%}
  // ---- a view: which leaderboards and rows are shown, and what they are sorted by, in the fragment of the address
  const form = byId("filters"), found = byId("found"), link = byId("permalink");
  const boards = [...document.querySelectorAll(".board")].map((section) => {
    const table = section.querySelector("table");
    const rows = [...section.querySelectorAll("tbody tr")].map((row) => ({ row, counts: row.closest("table") === table, mark: row.dataset.mark, text: `${row.cells[0].textContent} ${row.dataset.method}`.toLowerCase() }));
    return { section, table, rows, data: section.dataset };
  });
  let view = {};
  const read = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const written = () => `#${new URLSearchParams(Object.entries(view).filter(([, value]) => value))}`;
  const fits = (wanted, value) => !wanted || wanted === value;

  function show() {
    const words = (view.find ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0, lines = 0;
    for (const { section, rows, data } of boards) {
      const here = fits(view.board, data.board) && ["data", "network", "budget"].every((key) => fits(view[key], data[key]));
      let count = 0;
      for (const { row, counts, mark, text } of rows) {
        row.hidden = !(here && fits(view.checked, mark) && words.every((word) => text.includes(word)));
        count += counts && !row.hidden;
      }
      section.hidden = !count;
      shown += count > 0;
      lines += count;
    }
    found.textContent = shown ? `${lines} rows in ${shown} of ${boards.length} leaderboards` : "Nothing matches: reset with Show all.";
    link.setAttribute("href", written());
  }
  function sort() {
    if (!view.sort) return;
    for (const { table } of boards) {
      const index = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === view.sort);
      if (index >= 0) sortBy(table, index, view.order === "ascending" ? "ascending" : "descending");
    }
  }
  function remember() {
    history.replaceState(null, "", written());
    link.setAttribute("href", written());
  }
  function begin() {
    const given = read();
    // a fragment that names a section of the page is not a view
    view = Object.keys(given).some((key) => given[key]) ? given : {};
    for (const control of form.elements) if (control.name) control.value = view[control.name] ?? "";
    show();
    sort();
  }
  form.addEventListener("input", () => {
    for (const control of form.elements) if (control.name) view[control.name] = control.value;
    delete view.board;
    show();
    remember();
  });
  form.addEventListener("reset", () => {
    view = view.sort ? { sort: view.sort, order: view.order } : {};
    setTimeout(() => { show(); remember(); });
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("sorted", (event) => {
    view.sort = event.detail.title;
    view.order = event.detail.direction;
    sort();
    remember();
  });
  addEventListener("hashchange", begin);
  begin();
})();
