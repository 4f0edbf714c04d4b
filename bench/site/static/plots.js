"use strict";
// The plots, as SVG that prints as it is: erased against kept, intervals, concepts, costs and losses.
(() => {
  const report = window.erasureReport;
  const { element } = report;
  const d3 = window.d3;
  const ROW = 24;
  const [NARROWEST, WIDEST] = [560, 940];

  const titleOf = (column) => `${column.role}: ${column.title}`;

  function canvas(place, width, height, label) {
    place.replaceChildren();
    return d3
      .select(place)
      .append("svg")
      .attr("viewBox", `0 0 ${width} ${height}`)
      .attr("width", width)
      .attr("height", height)
      .attr("role", "img")
      .attr("aria-label", label);
  }

  // As wide as there is room, but never so narrow that it cannot be read: then it is moved sideways.
  const widthFor = (place) => Math.min(Math.max(place.clientWidth, NARROWEST), WIDEST);

  function caption(place, text) {
    place.append(element("figcaption", {}, text));
  }

  const widthOf = (text, size = 12) => text.length * size * 0.56;

  // --- erased against kept ---

  // What of a column a plot shows: the share that is gone, or the change, each in percent; else its value.
  function amount(column, erased) {
    const rows = [...column.rows.values()];
    if (erased && rows.some((row) => row.gone !== null)) {
      return {
        label: `gone of ${titleOf(column)}, %`,
        bar: 100 * report.run.bars.enough_gone,
        lower: false,
        of: (row) => row.method === report.run.baseline ? [0, 0, 0] : percent(row, ["gone", "gone_low", "gone_high"]),
      };
    }
    if (!erased && column.barred) {
      return {
        label: `change of ${titleOf(column)}, points`,
        bar: -100 * report.run.bars.most_lost,
        lower: false,
        of: (row) => row.method === report.run.baseline ? [0, 0, 0] : percent(row, ["change", "change_low", "change_high"]),
      };
    }
    return {
      label: `${titleOf(column)} ${report.ARROWS[column.better]}`,
      bar: null,
      lower: column.better === "lower",
      of: (row) => (row.value === null ? null : [row.value, row.low, row.high]),
    };
  }

  function percent(row, names) {
    if (row[names[0]] === null) return null;
    return names.map((name) => (row[name] === null ? null : 100 * row[name]));
  }

  report.tradeoff = (place, controls) => {
    const { run } = report;
    const columns = report.columnsOf("overall").filter((column) => column.better !== "neither");
    const across = columns.filter((column) => run.erased.has(column.role));
    const up = columns.filter((column) => !run.erased.has(column.role));
    if (!across.length || !up.length) {
      place.replaceChildren(element("p", { class: "hint" }, "This run has not both: pictures that should lose the concept and pictures that should keep theirs."));
      return;
    }
    const first = (found) => found.find((column) => column.barred) ?? found[0];
    const kept = up.filter((column) => column.role !== "anchor");
    const [one, other] = across
      .flatMap((column) => up.map((second) => [column, second]))
      .find(([column, second]) => isFrontOf(column, second)) ?? [first(across), first(kept.length ? kept : up)];
    const chosen = { across: one.key, up: other.key };
    const options = (found) => found.map((column) => [column.key, titleOf(column)]);
    const draw = () => drawTradeoff(
      place,
      across.find((column) => column.key === chosen.across),
      up.find((column) => column.key === chosen.up),
    );
    controls.append(
      report.choice("Erased", options(across), chosen.across, (value) => {
        chosen.across = value;
        draw();
      }),
      report.choice("Kept", options(up), chosen.up, (value) => {
        chosen.up = value;
        draw();
      }),
    );
    draw();
  };

  function drawTradeoff(place, across, up) {
    const { run } = report;
    const [x, y] = [amount(across, true), amount(up, false)];
    const points = run.methods.flatMap(({ name }) => {
      const [one, other] = [across.rows.get(name), up.rows.get(name)];
      const [h, v] = [one && x.of(one), other && y.of(other)];
      return h && v ? [{ name, h, v, base: name === run.baseline, collapsed: run.collapsed.has(name) }] : [];
    });
    const width = widthFor(place);
    const height = 520;
    const box = { left: 64, right: width - 150, top: 16, bottom: height - 48 };
    const svg = canvas(place, width, height, `${x.label} against ${y.label}, for each method with 95% intervals`);
    const scaleX = scaled(points.map((p) => p.h), x, [box.left, box.right]);
    const scaleY = scaled(points.map((p) => p.v), y, [box.bottom, box.top]);
    axes(svg, scaleX, scaleY, box, x.label, y.label);
    if (x.bar !== null) bar(svg, scaleX(x.bar), scaleX(x.bar), box.top, box.bottom);
    if (y.bar !== null) bar(svg, box.left, box.right, scaleY(y.bar), scaleY(y.bar));
    const front = paretoFront(points.filter((p) => !p.base && !p.collapsed), x.lower, y.lower);
    const tested = isFrontOf(across, up);
    const marked = new Set(tested ? run.front.methods : front.map((p) => p.name));
    const steps = front.map((p) => [scaleX(p.h[0]), scaleY(p.v[0])]);
    svg.append("path").attr("class", "front").attr("d", d3.line().curve(d3.curveStepBefore)(steps));
    svg
      .append("clipPath")
      .attr("id", "tradeoff-clip")
      .append("rect")
      .attr("x", box.left)
      .attr("y", box.top)
      .attr("width", box.right - box.left)
      .attr("height", box.bottom - box.top);
    const inside = svg.append("g").attr("clip-path", "url(#tradeoff-clip)");
    for (const p of points.filter((each) => !each.base)) {
      const [cx, cy] = [scaleX(p.h[0]), scaleY(p.v[0])];
      if (p.h[1] !== null && p.h[2] !== null) line(inside, scaleX(p.h[1]), scaleX(p.h[2]), cy, cy, "whisker");
      if (p.v[1] !== null && p.v[2] !== null) line(inside, cx, cx, scaleY(p.v[1]), scaleY(p.v[2]), "whisker");
    }
    const marks = svg.selectAll("g.mark").data(points).join("g").attr("class", "mark");
    marks
      .append("path")
      .attr("class", (p) => `point${p.base ? " base" : p.collapsed ? " collapsed" : marked.has(p.name) ? " on-front" : ""}`)
      .attr("d", (p) => d3.symbol(p.base ? d3.symbolDiamond : p.collapsed ? d3.symbolTriangle : d3.symbolCircle, 64)())
      .attr("transform", (p) => `translate(${scaleX(p.h[0])},${scaleY(p.v[0])})`)
      .append("title")
      .text((p) => `${report.nameOf(p.name)}\n${x.label}: ${said(p.h)}\n${y.label}: ${said(p.v)}`);
    for (const label of placed(points, scaleX, scaleY, box)) {
      if (Math.abs(label.y - label.from) > 14) line(svg, label.x - 2, label.at + 4, label.y - 4, label.from, "leader");
      svg.append("text").attr("class", "label").attr("x", label.x).attr("y", label.y).text(label.text);
    }
    const blue = tested
      ? "Blue: may lie on the Pareto front, as no other is told from it in one and as good in both (paired tests); the line joins the point values."
      : "Blue, and the line: the Pareto front by point values.";
    caption(place, `Up and right is better. Whiskers: 95% intervals. ${blue} Triangles: collapsed methods (†), which are not on it. Dashed: the bars. Diamond: the base model.`);
  }

  // Whether these are the two numbers that the run's own front was tested on.
  function isFrontOf(across, up) {
    const { front } = report.run;
    const same = (axis, column) => ["role", "evaluator", "metric"].every((name) => axis[name] === column[name]);
    return Boolean(front) && same(front.erasure, across) && same(front.retention, up);
  }

  const said = ([value, low, high]) =>
    report.number(value, 1) + (low === null || high === null ? "" : ` [${report.number(low, 1)}, ${report.number(high, 1)}]`);

  // The points' own range with the bar; whiskers that go far beyond it are cut.
  function scaled(triples, about, range) {
    const values = triples.map((t) => t[0]).concat(about.bar === null ? [] : [about.bar]);
    let [low, high] = d3.extent(values);
    const size = high - low || 1;
    const ends = triples.flatMap((t) => [t[1], t[2]]).filter((v) => v !== null);
    low = Math.max(d3.min([low, ...ends]), low - size * 0.35) - size * 0.04;
    high = Math.min(d3.max([high, ...ends]), high + size * 0.35) + size * 0.04;
    return d3.scaleLinear(about.lower ? [high, low] : [low, high], range);
  }

  function paretoFront(points, lowerX, lowerY) {
    const [sx, sy] = [lowerX ? -1 : 1, lowerY ? -1 : 1];
    const better = (one, other) =>
      sx * one.h[0] >= sx * other.h[0] &&
      sy * one.v[0] >= sy * other.v[0] &&
      (sx * one.h[0] > sx * other.h[0] || sy * one.v[0] > sy * other.v[0]);
    return points
      .filter((point) => !points.some((other) => better(other, point)))
      .sort((one, other) => sx * (one.h[0] - other.h[0]));
  }

  const LINE = 13;

  // Names above their points' whiskers, pushed apart where they would lie on each other. Pushed by a little
  // more than is asked for: y + LINE − y may be less than LINE.
  function placed(points, scaleX, scaleY, box) {
    const labels = points
      .map((p) => {
        const text = report.nameOf(p.name);
        const at = scaleX(p.h[0]);
        return { text, at, x: at + 6, y: scaleY(p.v[0]) - 6, from: scaleY(p.v[0]), width: widthOf(text) };
      })
      .sort((one, other) => one.y - other.y);
    const done = [];
    for (const label of labels) {
      let moved = true;
      while (moved) {
        moved = false;
        for (const other of done) {
          const apart = label.x > other.x + other.width || other.x > label.x + label.width;
          if (!apart && Math.abs(label.y - other.y) < LINE) {
            label.y = other.y + LINE + 0.01;
            moved = true;
          }
        }
      }
      done.push(label);
    }
    const over = Math.max(0, d3.max(done, (label) => label.y) - box.bottom + 2);
    if (over > 0) for (const label of done) if (label.y > box.top + over + 40) label.y -= over;
    return done;
  }

  function axes(svg, scaleX, scaleY, box, labelX, labelY) {
    const grid = svg.append("g");
    for (const tick of scaleX.ticks(8)) line(grid, scaleX(tick), scaleX(tick), box.top, box.bottom, "grid-line");
    for (const tick of scaleY.ticks(7)) line(grid, box.left, box.right, scaleY(tick), scaleY(tick), "grid-line");
    svg.append("g").attr("transform", `translate(0,${box.bottom})`).call(d3.axisBottom(scaleX).ticks(8));
    svg.append("g").attr("transform", `translate(${box.left},0)`).call(d3.axisLeft(scaleY).ticks(7));
    svg.append("text").attr("x", (box.left + box.right) / 2).attr("y", box.bottom + 38).attr("text-anchor", "middle").text(labelX);
    svg
      .append("text")
      .attr("transform", `translate(16,${(box.top + box.bottom) / 2}) rotate(-90)`)
      .attr("text-anchor", "middle")
      .text(labelY);
  }

  function line(place, x1, x2, y1, y2, style) {
    place.append("line").attr("class", style).attr("x1", x1).attr("x2", x2).attr("y1", y1).attr("y2", y2);
  }

  const bar = (place, x1, x2, y1, y2) => line(place, x1, x2, y1, y2, "bar-line");

  // --- intervals of one number ---

  report.intervals = (place, controls) => {
    const { run } = report;
    const columns = report.columnsOf("overall", { every: true });
    const first = report.firstOfRoles(columns)[0];
    if (!first) return;
    const chosen = { key: first.key, what: "value" };
    const draw = () => drawIntervals(place, columns.find((column) => column.key === chosen.key), chosen.what);
    controls.append(
      report.choice("Number", columns.map((column) => [column.key, titleOf(column)]), chosen.key, (value) => {
        chosen.key = value;
        draw();
      }),
      report.choice("Show", [["value", "value"], ["change", "change against the base"]], chosen.what, (value) => {
        chosen.what = value;
        draw();
      }),
    );
    draw();
  };

  function drawIntervals(place, column, what) {
    const { run } = report;
    const names = what === "value" ? ["value", "low", "high"] : ["change", "change_low", "change_high"];
    const rows = [...column.rows.values()].filter(
      (row) => row[names[0]] !== null && !(what === "change" && row.method === run.baseline),
    );
    if (!rows.length) {
      place.replaceChildren(element("p", { class: "hint" }, "No such number was measured."));
      return;
    }
    const down = column.better === "lower" ? 1 : -1;
    rows.sort((one, other) => down * (one[names[0]] - other[names[0]]));
    const texts = rows.map((row) => report.nameOf(row.method));
    const left = Math.min(260, Math.max(...texts.map((text) => widthOf(text)))) + 16;
    const decimals = report.decimalsFor(rows.map((row) => row[names[0]]));
    const width = widthFor(place);
    const right = width - 190;
    const height = rows.length * ROW + 64;
    const svg = canvas(place, width, height, `${titleOf(column)}, ${what}, of each method with its 95% interval`);
    const ends = rows.flatMap((row) => names.map((name) => row[name])).filter((value) => value !== null);
    const [low, high] = d3.extent(what === "change" ? [...ends, 0] : ends);
    const scale = d3.scaleLinear([low, high], [left + 8, right]).nice();
    for (const tick of scale.ticks(8)) line(svg, scale(tick), scale(tick), 8, height - 48, "grid-line");
    const base = column.rows.get(run.baseline)?.value ?? null;
    const mark = what === "change" ? 0 : base;
    if (mark !== null) {
      line(svg, scale(mark), scale(mark), 8, height - 48, "bar-line");
    }
    rows.forEach((row, place_) => {
      const y = 8 + (place_ + 0.5) * ROW;
      const style = run.collapsed.has(row.method) ? "collapsed" : row.method === run.baseline ? "base" : (row.verdict ?? "");
      const [value, from, to] = names.map((name) => row[name]);
      svg.append("text").attr("x", left - 4).attr("y", y + 4).attr("text-anchor", "end").attr("class", "label").text(texts[place_]);
      if (from !== null && to !== null) line(svg, scale(from), scale(to), y, y, `whisker ${style}`);
      svg.append("circle").attr("class", `point ${style}`).attr("cx", scale(value)).attr("cy", y).attr("r", 4.5);
      const signed = what === "change";
      const bounds = from === null || to === null ? "" : ` [${report.number(from, decimals, signed)}, ${report.number(to, decimals, signed)}]`;
      svg.append("text").attr("class", "faint").attr("x", right + 12).attr("y", y + 4).text(report.number(value, decimals, signed) + bounds);
    });
    svg.append("g").attr("transform", `translate(0,${height - 48})`).call(d3.axisBottom(scale).ticks(8));
    svg
      .append("text")
      .attr("x", (left + right) / 2)
      .attr("y", height - 10)
      .attr("text-anchor", "middle")
      .text(`${titleOf(column)} ${report.ARROWS[column.better]}${what === "change" ? ", change against the base" : ""}`);
    caption(place, "Best on top. Lines: 95% intervals; blue: the bar is met, orange: missed, grey: undecided or without a bar. Dashed: the base model.");
  }

  // --- every method on every concept ---

  report.concepts = (place, controls) => {
    const { run } = report;
    const columns = report.columnsOf("overall", { every: true });
    const first = report.firstOfRoles(columns)[0];
    if (!first) return;
    const draw = (key) => drawConcepts(place, columns.find((column) => column.key === key));
    controls.append(report.choice("Number", columns.map((column) => [column.key, titleOf(column)]), first.key, draw));
    draw(first.key);
  };

  function drawConcepts(place, column) {
    const { run } = report;
    const same = (row) => row.role === column.role && row.evaluator === column.evaluator && row.metric === column.metric;
    const rows = run.rows.filter(same);
    const known = new Map(rows.map((row) => [JSON.stringify([row.method, row.scope === "overall" ? "" : row.concept]), row]));
    const concepts = run.concepts.filter((concept) => rows.some((row) => row.scope === "concept" && row.concept === concept));
    const heads = ["", ...concepts];
    const methods = run.methods.map((method) => method.name);
    const values = rows.map((row) => row.value).filter((value) => value !== null);
    const share = ["share", "probability"].includes(column.unit);
    const scale = d3.scaleLinear(share ? [0, 1] : d3.extent(values), [0.04, 0.92]).clamp(true);
    const decimals = Math.min(report.decimalsFor(values), 2);
    const cell = concepts.length > 30 ? 26 : 62;
    const left = Math.min(240, Math.max(...methods.map((name) => widthOf(report.nameOf(name))))) + 16;
    const longest = Math.min(200, Math.max(...heads.map((name) => widthOf(name))));
    const top = 24 + longest * 0.64;
    const svg = canvas(place, left + heads.length * cell + longest * 0.8 + 16, top + methods.length * ROW + 8, `${titleOf(column)} of every method on every concept`);
    heads.forEach((name, place_) => {
      const x = left + (place_ + 0.5) * cell + (place_ ? 6 : 0);
      svg
        .append("text")
        .attr("transform", `translate(${x},${top - 8}) rotate(-40)`)
        .attr("class", place_ ? "label" : "faint")
        .text(place_ ? name : "all");
    });
    methods.forEach((method, down) => {
      const y = top + down * ROW;
      svg.append("text").attr("x", left - 6).attr("y", y + 16).attr("text-anchor", "end").attr("class", "label").text(report.nameOf(method));
      heads.forEach((name, across) => {
        const row = known.get(JSON.stringify([method, name]));
        const x = left + across * cell + (across ? 6 : 0);
        const box = svg.append("rect").attr("x", x + 1).attr("y", y + 1).attr("width", cell - 2).attr("height", ROW - 2).attr("rx", 2);
        if (!row || row.value === null) {
          box.attr("class", "cell-none");
          return;
        }
        const strength = scale(row.value);
        box.attr("class", "cell").attr("fill-opacity", strength);
        box.append("title").text(`${report.nameOf(method)} · ${name || "all concepts"}: ${report.number(row.value, decimals)} [${report.number(row.low, decimals)}, ${report.number(row.high, decimals)}]${row.verdict ? ` ${row.verdict}` : ""}`);
        if (cell > 40) {
          svg
            .append("text")
            .attr("x", x + cell / 2)
            .attr("y", y + 16)
            .attr("text-anchor", "middle")
            .attr("class", strength > 0.55 ? "strong" : "")
            .text(report.number(row.value, decimals) + (row.verdict ? ` ${report.MARKS[row.verdict]}` : ""));
        }
      });
    });
    caption(place, `${titleOf(column)} ${report.ARROWS[column.better]}. Stronger: the higher number${share ? ", 0 to 1" : ""}; ✓ ✗ ? say whether the bar is met.`);
  }

  // --- costs and losses ---

  report.costs = (place) => {
    const cells = report.trained.costs;
    const methods = report.run.methods.map((method) => method.name);
    const known = (own, name) => own.map((cell) => cell[name]).filter((value) => value !== null);
    const spread = (values, text) => {
      if (!values.length) return "–";
      const [low, high] = d3.extent(values);
      return low === high ? text(low) : `${text(d3.mean(values))} [${text(low)}–${text(high)}]`;
    };
    const lines = methods.map((method) => {
      const own = cells.filter((cell) => cell.method === method);
      const drawn = d3.sum(own, (cell) => cell.images);
      const memory = known(own, "peak_memory_bytes");
      const erase = known(own, "erase_seconds");
      return element(
        "tr",
        {},
        element("th", { scope: "row" }, report.nameOf(method)),
        element("td", {}, spread(erase, report.seconds)),
        element("td", {}, drawn ? report.seconds(d3.sum(own, (cell) => cell.generate_seconds) / drawn) : "–"),
        element("td", {}, memory.length ? report.gibibytes(d3.max(memory)) : "–"),
        element("td", {}, String(drawn)),
      );
    });
    const heads = ["method", "erase s, mean [range]", "s per image", "peak memory, GiB", "pictures"];
    place.replaceChildren(
      element(
        "table",
        { class: "costs" },
        element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
        element("tbody", {}, ...lines),
      ),
    );
  };

  report.losses = (place) => {
    const curves = report.trained.curves;
    const methods = report.run.methods.map((method) => method.name).filter((name) => curves.some((c) => c.method === name));
    place.replaceChildren(...methods.map((method) => panel(method, curves.filter((curve) => curve.method === method))));
  };

  function panel(method, curves) {
    const figure = element("figure", { class: "panel" }, element("figcaption", {}, `${method}: loss`));
    const [width, height, left, bottom] = [280, 150, 46, 22];
    const svg = d3
      .select(figure)
      .append("svg")
      .attr("viewBox", `0 0 ${width} ${height}`)
      .attr("role", "img")
      .attr("aria-label", `The training loss of ${method}, ${curves.length} curves`);
    const values = curves.flatMap((curve) => curve.losses).filter((value) => value !== null);
    const x = d3.scaleLinear([1, d3.max(curves, (curve) => curve.steps)], [left, width - 14]);
    const y = d3.scaleLinear(d3.extent(values), [height - bottom, 8]).nice();
    svg.append("g").attr("transform", `translate(0,${height - bottom})`).call(d3.axisBottom(x).ticks(4, "d"));
    svg.append("g").attr("transform", `translate(${left},0)`).call(d3.axisLeft(y).ticks(4).tickFormat(d3.format("~g")));
    for (const curve of curves) {
      const points = curve.losses.map((loss, place) => [place * curve.every + (curve.every + 1) / 2, loss]);
      const drawn = d3.line().defined((point) => point[1] !== null).x((point) => x(Math.min(point[0], curve.steps))).y((point) => y(point[1]));
      svg.append("path").attr("class", "curve").attr("d", drawn(points)).append("title").text(`${curve.concept} · seed ${curve.seed}`);
    }
    return figure;
  }
})();
