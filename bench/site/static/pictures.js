"use strict";
// The picture grid: a row for each prompt and noise, a column for each method. Only the rows in view are made,
// and only the chunks of data that they need are loaded, so that the number of pictures does not matter.
(() => {
  const report = window.erasureReport;
  const { element } = report;
  const MARGIN = 2;
  const OUTCOMES = [
    ["any", "any"],
    ["wanted", "as wanted"],
    ["unwanted", "not as wanted"],
    ["turned", "other than the base's"],
    ["missing", "not scored"],
  ];

  const chunks = new Map();
  const waiting = new Map();
  report.pictures = (given) => {
    report.index = given;
  };
  report.chunk = (given) => {
    const { length } = report.index.metrics;
    const width = report.index.methods.length;
    const why = new Map(given.reasons.map(([place, word]) => [place, given.words[word]]));
    chunks.set(given.name, { ...given, why, metrics: length, width });
    waiting.get(given.name)?.done();
  };

  function load(name) {
    if (chunks.has(name)) return Promise.resolve();
    if (!waiting.has(name)) {
      const entry = {};
      entry.promise = new Promise((done, failed) => Object.assign(entry, { done, failed }));
      waiting.set(name, entry);
      const script = element("script", { src: document.body.dataset.folder + name });
      script.addEventListener("load", () => script.remove());
      script.addEventListener("error", () => {
        script.remove();
        waiting.delete(name);
        entry.failed(new Error(`${name} cannot be loaded`));
      });
      document.head.append(script);
    }
    return waiting.get(name).promise;
  }

  // One picture of a row: where it is, whether it is flagged, its scores.
  function shotOf(chunk, row, method) {
    const place = row * chunk.width + method;
    const found = chunk.pictures[place];
    const { index } = report;
    const folder = found ? `${document.body.dataset.pictures}${index.folders[found[0]]}/${found[1]}` : null;
    return {
      method: index.methods[method],
      large: folder && `${folder}.png`,
      small: folder && `${folder}.${found[2] ? "webp" : "png"}`,
      flagged: chunk.flags[place] === "1",
      value: (metric) => chunk.values[place * chunk.metrics + metric],
      reason: (metric) => chunk.why.get(place * chunk.metrics + metric) ?? "",
    };
  }

  // What a share says of a picture of a role: is it as erasure wants it?
  report.outcome = (metric, role, value) => {
    const better = metric.better[role];
    if (metric.kind !== "share" || (better !== "lower" && better !== "higher")) return null;
    if (value === null) return { word: "not scored", state: "missing" };
    const wanted = value > 0.5 === (better === "higher");
    const erased = report.run.erased.has(role);
    const plain = erased === (better === "lower") && !metric.collapse;
    const words = !plain ? ["as wanted", "not as wanted"] : erased ? ["gone", "still there"] : ["kept", "lost"];
    return { word: wanted ? `✓ ${words[0]}` : `✗ ${words[1]}`, state: wanted ? "wanted" : "unwanted" };
  };

  report.scoreText = (metric, value) => {
    if (value === null) return "–";
    if (metric.kind === "share" || metric.kind === "count") return report.number(value, Number.isInteger(value) ? 0 : 3);
    return report.number(value, Math.abs(value) >= 100 ? 1 : 3);
  };

  report.grid = (place, controls, count) => {
    const { index } = report;
    if (!index.groups.length) {
      place.replaceWith(element("p", { class: "hint" }, "No picture was scored."));
      return;
    }
    const edited = index.methods.map((_, method) => method).filter((method) => method !== index.base);
    const shares = index.metrics
      .map((metric, number) => ({ metric, number }))
      .filter(({ metric }) => metric.kind === "share" && Object.values(metric.better).some((way) => way !== "neither"));
    const barred = new Set(report.columnsOf("overall").filter((c) => c.barred).map((c) => `${c.evaluator}:${c.metric}`));
    const usual = shares.find(({ metric }) => barred.has(`${metric.evaluator}:${metric.name}`)) ?? shares[0];
    const state = {
      concept: "all",
      role: "all",
      methods: edited,
      by: usual ? usual.number : null,
      outcome: "any",
      words: "",
      scores: index.metrics.map((_, number) => number).filter((number) => index.metrics[number].headline).slice(0, 2),
      revealed: new Set(),
      all: false,
    };
    let view = null;
    let turn = 0;

    // --- which rows ---

    const groups = () =>
      index.groups.filter(
        (group) => (state.concept === "all" || group.concept === state.concept) && (state.role === "all" || group.role === state.role),
      );
    const searching = () => state.outcome !== "any" || state.words.trim() !== "";

    function plainView() {
      const parts = [];
      let start = 0;
      for (const group of groups()) {
        for (const chunk of group.chunks) {
          parts.push({ ...chunk, group, start });
          start += chunk.rows;
        }
      }
      return {
        length: start,
        at(place) {
          let [low, high] = [0, parts.length - 1];
          while (low < high) {
            const middle = (low + high + 1) >> 1;
            if (parts[middle].start <= place) low = middle;
            else high = middle - 1;
          }
          return { name: parts[low].name, group: parts[low].group, row: place - parts[low].start };
        },
      };
    }

    function matches(chunk, group, row) {
      const words = state.words.trim().toLowerCase();
      if (words) {
        const [id, text] = chunk.prompts[chunk.rows[row][0]];
        if (!id.toLowerCase().includes(words) && !text.toLowerCase().includes(words)) return false;
      }
      if (state.outcome === "any" || state.by === null) return true;
      const metric = index.metrics[state.by];
      const base = report.outcome(metric, group.role, shotOf(chunk, row, index.base).value(state.by));
      return state.methods.some((method) => {
        const found = report.outcome(metric, group.role, shotOf(chunk, row, method).value(state.by));
        if (!found) return false;
        if (state.outcome === "turned") {
          const states = [found.state, base.state];
          return !states.includes("missing") && states[0] !== states[1];
        }
        return found.state === state.outcome;
      });
    }

    async function searchedView(own) {
      const found = [];
      for (const group of groups()) {
        for (const { name, rows } of group.chunks) {
          await load(name);
          if (own !== turn) return null;
          const chunk = chunks.get(name);
          for (let row = 0; row < rows; row += 1) if (matches(chunk, group, row)) found.push({ name, group, row });
        }
        count.textContent = `searching … ${found.length} rows so far`;
      }
      return { length: found.length, at: (place_) => found[place_] };
    }

    async function renew() {
      turn += 1;
      const own = turn;
      let next;
      try {
        next = searching() ? await searchedView(own) : plainView();
      } catch (error) {
        count.textContent = error.message;
        return;
      }
      if (next === null || own !== turn) return;
      view = next;
      place.scrollTop = 0;
      layOut();
    }

    // --- what is seen of them ---

    const head = element("div", { class: "grid-head" });
    const rows = element("div", { class: "grid-rows" });
    const seen = new Map();
    place.replaceChildren(head, rows);
    const columns = () => [index.base, ...state.methods];
    const height = () => (index.pictures ? 124 : 28) + 16 + 16 + 16 * state.scores.length + 4;

    function layOut() {
      place.classList.toggle("without", !index.pictures);
      head.replaceChildren(
        element("div", { class: "prompt" }, "prompt"),
        ...columns().map((method) => {
          const name = index.methods[method];
          return element("div", { title: name }, report.headOf(name));
        }),
      );
      for (const made of seen.values()) made.remove();
      seen.clear();
      rows.style.height = `${view.length * height()}px`;
      const pictures = view.length * columns().length;
      count.textContent =
        `${view.length.toLocaleString("en-US")} rows, ${pictures.toLocaleString("en-US")} pictures` +
        (index.left_out ? `; ${index.left_out.toLocaleString("en-US")} flagged ones were left out of this report` : "") +
        (index.gone ? `; ${index.gone.toLocaleString("en-US")} are no longer in the run's store` : "");
      show();
    }

    function show() {
      if (!view) return;
      const own = height();
      const from = Math.max(0, Math.floor(place.scrollTop / own) - MARGIN);
      const to = Math.min(view.length, Math.ceil((place.scrollTop + place.clientHeight) / own) + MARGIN);
      for (const [number, made] of seen) {
        if (number < from || number >= to) {
          made.remove();
          seen.delete(number);
        }
      }
      for (let number = from; number < to; number += 1) if (!seen.has(number)) fill(number, own);
    }

    function fill(number, own) {
      const made = element("div", { class: "grid-row", data: { row: String(number) } });
      made.style.height = `${own}px`;
      made.style.transform = `translateY(${number * own}px)`;
      seen.set(number, made);
      rows.append(made);
      const { name, group, row } = view.at(number);
      if (chunks.has(name)) {
        made.replaceChildren(...cells(number, chunks.get(name), group, row));
        return;
      }
      made.append(element("div", { class: "prompt" }, "loading …"));
      load(name).then(
        () => {
          if (seen.get(number) === made) made.replaceChildren(...cells(number, chunks.get(name), group, row));
        },
        (error) => made.replaceChildren(element("div", { class: "prompt" }, error.message)),
      );
    }

    function cells(number, chunk, group, row) {
      const [prompt, seed, image] = chunk.rows[row];
      const [id, text] = chunk.prompts[prompt];
      const about = [group.concept, group.role, `seed ${seed}`, ...(image ? [`no. ${image}`] : [])].join(" · ");
      return [
        element(
          "div",
          { class: "prompt" },
          element("div", { class: "text", dir: "auto", title: text || id }, text || id),
          element("div", { class: "about", title: about }, about),
          text ? element("div", { class: "about", title: id }, id) : null,
        ),
        ...columns().map((method) => cell(number, chunk, group, row, method)),
      ];
    }

    function cell(number, chunk, group, row, method) {
      const shot = shotOf(chunk, row, method);
      const by = state.by === null ? null : report.outcome(index.metrics[state.by], group.role, shot.value(state.by));
      return element(
        "div",
        {},
        report.frame(shot, state, () => report.view(viewing, number, method), show_again),
        element("div", { class: `outcome ${by?.state ?? ""}` }, by?.word ?? ""),
        ...state.scores.map((metric) => {
          const { title } = index.metrics[metric];
          const value = shot.value(metric);
          const why = value === null ? `: ${shot.reason(metric) || "not scored"}` : "";
          return element(
            "div",
            { class: "score", title: title + why },
            element("span", {}, title),
            element("span", {}, report.scoreText(index.metrics[metric], value)),
          );
        }),
      );
    }

    function show_again() {
      for (const made of seen.values()) made.remove();
      seen.clear();
      show();
    }

    // What the viewer walks over.
    const viewing = {
      index,
      state,
      columns,
      get length() {
        return view.length;
      },
      async at(number) {
        const { name, group, row } = view.at(number);
        await load(name);
        const chunk = chunks.get(name);
        const [prompt, seed, image] = chunk.rows[row];
        const [id, text] = chunk.prompts[prompt];
        return { group, id, text, seed, image, shot: (method) => shotOf(chunk, row, method) };
      },
      left: (number) => {
        place.scrollTop = Math.min(Math.max(place.scrollTop, (number + 1) * height() - place.clientHeight + 40), number * height());
        show_again();
      },
    };

    // --- controls ---

    const names = (key) => [...new Set(index.groups.map((group) => group[key]))];
    const chooser = (label, key, every) =>
      report.choice(label, [["all", every], ...names(key).map((name) => [name, name])], "all", (value) => {
        state[key] = value;
        renew();
      });
    let typing = 0;
    controls.append(
      element(
        "label",
        { class: "choice" },
        element("span", {}, "Find in prompts"),
        element("input", {
          type: "search",
          on: {
            input: (event) => {
              clearTimeout(typing);
              typing = setTimeout(() => {
                state.words = event.target.value;
                renew();
              }, 200);
            },
          },
        }),
      ),
      ...(names("concept").length > 1 ? [chooser("Concept", "concept", "all")] : []),
      chooser("Role", "role", "all"),
      ...(shares.length
        ? [
            report.choice(
              "Verdict by",
              shares.map(({ metric, number }) => [String(number), metric.title]),
              String(state.by),
              (value) => {
                state.by = Number(value);
                renew();
              },
            ),
            report.choice("Verdict", OUTCOMES, state.outcome, (value) => {
              state.outcome = value;
              renew();
            }),
          ]
        : []),
      report.several("Methods", edited.map((method) => [String(method), index.methods[method]]), state.methods.map(String), (chosen) => {
        state.methods = chosen.map(Number);
        renew();
      }),
      report.several("Scores", index.metrics.map((metric, number) => [String(number), metric.title]), state.scores.map(String), (chosen) => {
        state.scores = chosen.map(Number);
        layOut();
      }),
    );
    if (index.flagged) {
      const box = element("input", { type: "checkbox" });
      box.addEventListener("change", () => {
        state.all = box.checked;
        show_again();
      });
      controls.append(element("label", { class: "tick" }, box, element("span", {}, "Show flagged pictures")));
    }
    let asked = false;
    place.addEventListener("scroll", () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        show();
      });
    });
    addEventListener("resize", show);
    place.addEventListener("keydown", (event) => {
      if (event.target !== place || !view) return;
      const steps = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1 };
      if (event.key in steps) {
        place.scrollTop += steps[event.key] * height();
        event.preventDefault();
      }
    });
    renew();
  };
})();
