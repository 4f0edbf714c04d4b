"use strict";
// The leaderboard: sorted and filtered where it is, each interval drawn beside its number.
(() => {
  const report = window.erasureReport;
  const { element, drawn } = report;
  const WIDTH = 84;
  const HEIGHT = 10;
  const COSTS = [
    ["erase_seconds", "erase s"],
    ["seconds_per_image", "s per image"],
  ];
  const MODES = [
    ["first", "one per role"],
    ["headline", "all headline numbers"],
    ["every", "every number"],
  ];
  const VERDICTS = [
    ["any", "any"],
    ["all-met", "meets every bar"],
    ["none-missed", "misses no bar"],
    ["some-missed", "misses a bar"],
  ];

  report.leaderboard = (place, controls, count) => {
    const { run } = report;
    const state = {
      concept: "overall",
      mode: "first",
      roles: run.roles.map((role) => role.name),
      words: "",
      verdict: "any",
      sort: null,
    };

    function columns() {
      const found = report.columnsOf(state.concept, { every: state.mode === "every" });
      const chosen = state.mode === "first" ? report.firstOfRoles(found) : found;
      return chosen.filter((column) => state.roles.includes(column.role));
    }

    function valueOf(shown, key, method) {
      if (key === "method") return run.methods.findIndex((each) => each.name === method);
      const cost = COSTS.find(([name]) => name === key);
      const column = cost ? anyColumn(shown) : shown.find((each) => each.key === key);
      const row = column && column.rows.get(method);
      return row ? row[cost ? key : "value"] : null;
    }

    // Numbers that are never the best stand behind all others, whichever way these are sorted.
    function lagging(shown, key, method) {
      const row = shown.find((each) => each.key === key)?.rows.get(method);
      return row ? Boolean(row.collapsed) || row.status !== "ok" : false;
    }

    function matches(shown, method) {
      if (!method.toLowerCase().includes(state.words.toLowerCase())) return false;
      if (state.verdict === "any") return true;
      const found = shown.filter((column) => column.barred).map((c) => c.rows.get(method)?.verdict ?? null);
      if (state.verdict === "all-met") return found.length > 0 && found.every((each) => each === "met");
      // What failed, or has collapsed, has no verdict: that is no bar which is not missed.
      if (state.verdict === "none-missed") return found.length > 0 && found.every((each) => each === "met" || each === "undecided");
      return found.includes("missed");
    }

    // The base model's row stays on top: every other is compared with it.
    function methods(shown) {
      const names = run.methods.map((method) => method.name);
      const others = names.filter((name) => name !== run.baseline && matches(shown, name));
      if (state.sort) {
        const { key, descending } = state.sort;
        const known = new Map(others.map((name) => [name, valueOf(shown, key, name)]));
        others.sort((one, other) => {
          const [a, b] = [known.get(one), known.get(other)];
          if (a === null || b === null) return (a === null) - (b === null);
          const behind = lagging(shown, key, one) - lagging(shown, key, other);
          if (behind) return behind;
          return descending ? b - a : a - b;
        });
      }
      return [...names.filter((name) => name === run.baseline), ...others];
    }

    function sortBy(key, better) {
      const first = better === "higher";
      if (!state.sort || state.sort.key !== key) state.sort = { key, descending: first };
      else if (state.sort.descending === first) state.sort = { key, descending: !first };
      else state.sort = null;
      draw();
      place.querySelector(`button[data-key="${CSS.escape(key)}"]`)?.focus();
    }

    function heading(key, text, better, attributes = {}) {
      const sorted = state.sort && state.sort.key === key;
      const order = sorted ? (state.sort.descending ? "descending" : "ascending") : "none";
      return element(
        "th",
        { scope: "col", "aria-sort": order, ...attributes },
        element(
          "button",
          { type: "button", class: "sort", data: { key }, on: { click: () => sortBy(key, better) } },
          text,
          element("span", { class: "order", "aria-hidden": "true" }, sorted ? (state.sort.descending ? " ▼" : " ▲") : ""),
        ),
      );
    }

    function draw() {
      const shown = columns();
      const names = methods(shown);
      const groups = [];
      for (const column of shown) {
        if (groups.at(-1)?.role === column.role) groups.at(-1).columns += 1;
        else groups.push({ role: column.role, columns: 1 });
      }
      const head = element(
        "thead",
        {},
        element(
          "tr",
          {},
          heading("method", "method", "lower", { rowspan: "2", class: "name" }),
          ...groups.map(({ role, columns: span }) =>
            element("th", { scope: "colgroup", colspan: String(span), class: "role" }, role),
          ),
          element("th", { scope: "colgroup", colspan: "2", class: "role" }, "cost"),
        ),
        element(
          "tr",
          {},
          ...shown.map((column) =>
            heading(column.key, `${column.title} ${report.ARROWS[column.better]}`.trim(), column.better),
          ),
          ...COSTS.map(([key, title]) => heading(key, title, "lower")),
        ),
      );
      const scales = new Map(shown.map((column) => [column.key, scaleOf(column, run.baseline)]));
      const cost = anyColumn(shown);
      const body = element(
        "tbody",
        {},
        ...names.map((name) =>
          element(
            "tr",
            { class: name === run.baseline ? "base" : null, data: { method: name } },
            element("th", { scope: "row", class: "name" }, report.nameOf(name)),
            ...shown.map((column) => cell(column, name, scales.get(column.key))),
            ...COSTS.map(([key]) =>
              element("td", { class: "number" }, report.seconds(cost?.rows.get(name)?.[key])),
            ),
          ),
        ),
      );
      place.replaceChildren(element("table", { class: "leaderboard" }, head, body));
      const others = run.methods.length - 1;
      const seen = names.length - 1;
      count.textContent = seen === others ? "" : `${seen} of ${others} methods, and the base model`;
    }

    controls.append(
      element(
        "label",
        { class: "choice" },
        element("span", {}, "Find a method"),
        element("input", {
          type: "search",
          on: {
            input: (event) => {
              state.words = event.target.value;
              draw();
            },
          },
        }),
      ),
      report.choice("Verdicts", VERDICTS, state.verdict, (value) => {
        state.verdict = value;
        draw();
      }),
      report.choice("Numbers", MODES, state.mode, (value) => {
        state.mode = value;
        draw();
      }),
      ...(run.concepts.length > 1
        ? [
            report.choice(
              "Concept",
              [["overall", "all, on average"], ...run.concepts.map((concept) => [concept, concept])],
              state.concept,
              (value) => {
                state.concept = value;
                draw();
              },
            ),
          ]
        : []),
      report.several(
        "Roles",
        run.roles.map((role) => [role.name, role.name]),
        state.roles,
        (chosen) => {
          state.roles = chosen;
          draw();
        },
      ),
    );
    draw();
  };

  function anyColumn(shown) {
    return shown[0] ?? report.columnsOf("overall")[0];
  }

  function scaleOf(column, baseline) {
    const rows = [...column.rows.values()];
    const ends = rows.flatMap((row) => [row.value, row.low, row.high]).filter((value) => value !== null);
    const changes = rows.map((row) => row.change).filter((value) => value !== null);
    const share = ["share", "probability"].includes(column.unit);
    let low = share ? 0 : Math.min(...ends);
    let high = share ? 1 : Math.max(...ends);
    if (!(high > low)) [low, high] = [low - 0.5, high + 0.5];
    return {
      decimals: column.rows.values().next().value.aggregate === "sum" ? 1 : report.decimalsFor([...ends, ...changes]),
      at: (value) => Math.min(Math.max(((value - low) / (high - low)) * (WIDTH - 6) + 3, 0), WIDTH),
      base: column.rows.get(baseline)?.value ?? null,
    };
  }

  function cell(column, method, scale) {
    const row = column.rows.get(method);
    if (!row) return element("td", { class: "number" }, "–");
    if (row.value === null) {
      return element("td", { class: `number ${row.status}`, title: row.reason }, row.status);
    }
    const text = report.number(row.value, scale.decimals) + (row.status === "partial" ? "*" : "");
    const bounds =
      row.low === null || row.high === null
        ? ""
        : `[${report.number(row.low, scale.decimals)}, ${report.number(row.high, scale.decimals)}]`;
    return element(
      "td",
      { class: row.best ? "number best" : row.second ? "number second" : "number", title: details(row, scale.decimals) },
      element("span", { class: "value" }, text),
      element("span", { class: "interval" }, bounds),
      bounds ? strip(row, scale) : null,
      report.verdict(row.verdict),
    );
  }

  function strip(row, scale) {
    const y = HEIGHT / 2;
    const parts = [
      drawn("line", { class: "axis", x1: 0, x2: WIDTH, y1: y, y2: y }),
      drawn("line", { class: "whisker", x1: scale.at(row.low), x2: scale.at(row.high), y1: y, y2: y }),
      drawn("circle", { class: "point", cx: scale.at(row.value), cy: y, r: 2.6 }),
    ];
    if (scale.base !== null) {
      const x = scale.at(scale.base);
      parts.unshift(drawn("line", { class: "base-tick", x1: x, x2: x, y1: 0, y2: HEIGHT }));
    }
    return drawn("svg", { class: "strip", width: WIDTH, height: HEIGHT, "aria-hidden": "true" }, ...parts);
  }

  function details(row, decimals) {
    const lines = [`${row.images} pictures of ${row.prompts} prompts${row.missing ? `, ${row.missing} missing` : ""}`];
    if (row.change !== null) {
      const [low, high] = [row.change_low, row.change_high].map((end) => report.number(end, decimals, true));
      lines.push(`change against the base ${report.number(row.change, decimals, true)} [${low}, ${high}]`);
    }
    if (row.gone !== null) {
      const [gone, low, high] = [row.gone, row.gone_low, row.gone_high].map((v) => report.number(v === null ? null : 100 * v, 1));
      lines.push(`${gone}% gone [${low}, ${high}]`);
    }
    if (row.rank !== null) lines.push(`place ${row.rank} [${row.rank_low}, ${row.rank_high}]`);
    if (row.detectable !== null) lines.push(`detectable change ${report.number(row.detectable, decimals)}`);
    if (row.worst !== null && row.missing) lines.push(`${report.number(row.worst, decimals)} if all that is missing were the worst`);
    if (row.reason) lines.push(row.reason);
    if (row.collapsed) lines.push(`collapsed: ${row.collapsed}`);
    return lines.join("\n");
  }
})();
