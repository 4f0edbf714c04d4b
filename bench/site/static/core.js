"use strict";
// What the other scripts share: the page's data, how numbers look, and elements made without any HTML text.
window.erasureReport = (() => {
  const MINUS = "\u2212";
  const ARROWS = { lower: "↓", higher: "↑", neither: "" };
  const MARKS = { met: "✓", missed: "✗", undecided: "?" };
  const report = { ARROWS, MARKS, COLLAPSED: "†" };

  // --- data, given by the files in data/ ---

  function rowsOf(table) {
    const names = Object.keys(table.columns);
    const texts = new Set(table.texts);
    const count = names.length ? table.columns[names[0]].length : 0;
    return Array.from({ length: count }, (_, place) => {
      const row = {};
      for (const name of names) {
        const value = table.columns[name][place];
        row[name] = texts.has(name) && value !== null ? table.words[value] : value;
      }
      return row;
    });
  }

  report.numbers = (given) => {
    report.run = { ...given, rows: rowsOf(given.rows) };
    report.run.erased = new Set(given.roles.filter((role) => role.erased).map((role) => role.name));
    report.run.collapsed = new Set(given.methods.filter((m) => m.collapsed).map((m) => m.name));
  };
  report.training = (given) => {
    report.trained = given;
  };

  report.nameOf = (method) =>
    report.run.collapsed.has(method) ? `${method} ${report.COLLAPSED}` : method;

  // As the head of a column of pictures or of their scores.
  report.headOf = (method) => report.nameOf(method) + (method === report.run.baseline ? " (base)" : "");

  // The columns of numbers that a scope has: one for each role, evaluator and metric.
  report.columnsOf = (concept, { every = false } = {}) => {
    const scope = concept === "overall" ? "overall" : "concept";
    const columns = new Map();
    for (const row of report.run.rows) {
      if (row.scope !== scope || (scope === "concept" && row.concept !== concept)) continue;
      if (!row.headline && !every) continue;
      const key = JSON.stringify([row.role, row.evaluator, row.metric]);
      if (!columns.has(key)) {
        const { role, evaluator, metric, title, unit, better, headline } = row;
        columns.set(key, { key, role, evaluator, metric, title, unit, better, headline, rows: new Map() });
      }
      columns.get(key).rows.set(row.method, row);
    }
    const found = [...columns.values()];
    const titles = new Map();
    for (const column of found) {
      if (!titles.has(column.title)) titles.set(column.title, new Set());
      titles.get(column.title).add(column.evaluator);
    }
    for (const column of found) {
      if (titles.get(column.title).size > 1) column.title = `${column.evaluator}: ${column.title}`;
      column.barred = [...column.rows.values()].some((row) => row.verdict !== null);
    }
    return found;
  };

  // Each role's first headline number that has a bar, else its first: what a table begins with.
  report.firstOfRoles = (columns) => {
    const first = new Map();
    for (const column of columns) {
      if (!column.headline) continue;
      const before = first.get(column.role);
      if (!before || (column.barred && !before.barred)) first.set(column.role, column);
    }
    return columns.filter((column) => first.get(column.role) === column);
  };

  // --- numbers as text ---

  report.number = (value, decimals, signed = false) => {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    const whole = decimals === 1 && Number.isInteger(value);
    const text =
      size >= 1e7
        ? size.toExponential(3)
        : size.toLocaleString("en-US", {
            minimumFractionDigits: whole ? 0 : decimals,
            maximumFractionDigits: whole ? 0 : decimals,
          });
    const negative = value < 0 && /[1-9]/.test(text);
    return negative ? MINUS + text : signed ? `+${text}` : text;
  };

  report.decimalsFor = (numbers) => {
    const largest = Math.max(0, ...numbers.map((value) => Math.abs(value)));
    if (largest >= 10) return 1;
    let decimals = 3;
    while (largest > 0 && largest < 10 ** (1 - decimals) && decimals < 8) decimals += 1;
    return decimals;
  };

  report.seconds = (value) => {
    if (value === null || value === undefined) return "–";
    if (value === 0) return "0";
    return report.number(value, value < 1 ? 3 : value < 100 ? 1 : 0);
  };

  report.gibibytes = (bytes) => (bytes ? report.number(bytes / 2 ** 30, 2) : "–");

  // --- elements ---

  // Text is only ever set as text: what a prompt or a name holds can become no markup.
  report.element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
      else if (key === "data") Object.assign(made.dataset, value);
      else if (value === true) made.setAttribute(key, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  };

  const SVG = "http://www.w3.org/2000/svg";
  report.drawn = (name, attributes = {}, ...children) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  // A labelled choice; `choices` are [value, text].
  report.choice = (label, choices, chosen, act) => {
    const { element } = report;
    const select = element(
      "select",
      { "aria-label": label, on: { change: () => act(select.value) } },
      ...choices.map(([value, text]) => element("option", { value, selected: value === chosen }, text)),
    );
    return element("label", { class: "choice" }, element("span", {}, label), select);
  };

  // Several of many; `act` is given the chosen values, in their order.
  report.several = (label, choices, chosen, act) => {
    const { element } = report;
    const boxes = choices.map(([value, text]) => {
      const box = element("input", { type: "checkbox", value });
      box.checked = chosen.includes(value);
      box.addEventListener("change", changed);
      return [box, element("label", {}, box, element("span", {}, text))];
    });
    const summary = element("summary", {});
    function tell() {
      const count = boxes.filter(([box]) => box.checked).length;
      summary.textContent = `${label}: ${count === boxes.length ? "all" : `${count} of ${boxes.length}`}`;
    }
    function changed() {
      tell();
      act(boxes.filter(([box]) => box.checked).map(([box]) => box.value));
    }
    const set = (on) => () => {
      for (const [box] of boxes) box.checked = on;
      changed();
    };
    tell();
    const made = element(
      "details",
      { class: "several" },
      summary,
      element(
        "div",
        { class: "several-list" },
        element(
          "div",
          { class: "several-all" },
          element("button", { type: "button", on: { click: set(true) } }, "all"),
          element("button", { type: "button", on: { click: set(false) } }, "none"),
        ),
        ...boxes.map(([, line]) => line),
      ),
    );
    made.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && made.open) {
        made.open = false;
        summary.focus();
        event.stopPropagation();
      }
    });
    document.addEventListener("click", (event) => {
      if (made.open && !made.contains(event.target)) made.open = false;
    });
    return made;
  };

  report.verdict = (verdict) => {
    if (!verdict) return null;
    const { element } = report;
    return element(
      "span",
      { class: `verdict ${verdict}` },
      element("span", { class: "mark", "aria-hidden": "true" }, MARKS[verdict]),
      ` ${verdict}`,
    );
  };

  return report;
})();
