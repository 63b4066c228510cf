"use strict";
(() => {
  const text = (cell) => cell.dataset.v ?? cell.textContent.trim();

  const compare = (kind) => (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    return kind === "number" ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true });
  };

  const sort = (button) => {
    const heading = button.closest("th");
    const body = heading.closest("table").tBodies[0];
    const first = button.dataset.kind === "number" ? "descending" : "ascending";
    const other = first === "descending" ? "ascending" : "descending";
    const direction = heading.getAttribute("aria-sort") === first ? other : first;
    for (const sibling of heading.parentNode.children) sibling.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", direction);
    const order = compare(button.dataset.kind);
    const rows = [...body.rows].map((row) => [text(row.cells[heading.cellIndex]), row]);
    rows.sort(([a], [b]) => (direction === "ascending" || a === "" || b === "" ? order(a, b) : order(b, a)));
    body.append(...rows.map(([, row]) => row));
  };

  const written = (table) => {
    const headings = [...table.tHead.rows[0].cells].map((cell) => cell.dataset.title);
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map(text));
    return [headings, ...rows].map((row) => row.join("\t")).join("\n");
  };

  const copyOldWay = (words) => {
    const area = document.createElement("textarea");
    area.value = words;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };

  const copy = async (button) => {
    const words = written(button.closest(".table").querySelector("table"));
    let done = true;
    try {
      await navigator.clipboard.writeText(words);
    } catch {
      done = copyOldWay(words);
    }
    button.textContent = done ? "Copied" : "The browser does not allow it";
    setTimeout(() => { button.textContent = "Copy table"; }, 1500);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.closest("thead")) sort(button);
    else if (button?.classList.contains("copy")) copy(button);
  });

  const folded = () => document.querySelectorAll("details:not([open])");
  let opened = [];
  addEventListener("beforeprint", () => { opened = [...folded()]; for (const one of opened) one.open = true; });
  addEventListener("afterprint", () => { for (const one of opened) one.open = false; });
})();
