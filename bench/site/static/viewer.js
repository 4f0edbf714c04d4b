"use strict";
// One picture large: zoomed, beside the base model's, or in turn with it on the same spot.
(() => {
  const report = window.erasureReport;
  const { element } = report;
  const BLINK = 600;
  const SIZES = [0.5, 1, 1.5, 2, 3, 4, 6];
  const FITTING = 1;

  // A picture as the grid shows it: flagged ones are blurred until somebody asks to see them.
  report.frame = (shot, state, open, again) => {
    if (!shot.small) return element("div", { class: "shot none" }, shot.flagged && report.index.left_out ? "flagged: left out" : "no picture");
    const veiled = shot.flagged && !state.all && !state.revealed.has(shot.large);
    const image = element("img", {
      src: shot.small,
      loading: "lazy",
      decoding: "async",
      alt: veiled ? "a flagged picture, blurred" : `by ${shot.method}`,
    });
    return element(
      "button",
      {
        type: "button",
        class: veiled ? "shot veiled" : "shot",
        on: {
          click: () => {
            if (!veiled) return open();
            state.revealed.add(shot.large);
            return again();
          },
        },
      },
      image,
      veiled ? element("span", { class: "veil" }, "flagged: show") : null,
    );
  };

  let timer = 0;

  report.view = (viewing, number, method) => {
    const dialog = document.getElementById("viewer");
    const { index, state } = viewing;
    const at = { number, method, mode: "one", size: FITTING, second: false, turn: 0 };

    const act = {
      ArrowLeft: () => across(-1),
      ArrowRight: () => across(1),
      ArrowUp: () => down(-1),
      ArrowDown: () => down(1),
      b: () => mode("blink"),
      s: () => mode("side"),
      " ": () => at.mode === "blink" && flip(),
      "+": () => size(1),
      "=": () => size(1),
      "-": () => size(-1),
      0: () => size(FITTING - at.size),
    };

    function across(step) {
      const columns = viewing.columns();
      const place = columns.indexOf(at.method) + step;
      if (place >= 0 && place < columns.length) at.method = columns[place];
      draw();
    }
    function down(step) {
      at.number = Math.min(Math.max(at.number + step, 0), viewing.length - 1);
      draw();
    }
    function mode(wanted) {
      at.mode = at.mode === wanted ? "one" : wanted;
      at.second = false;
      clearInterval(timer);
      // Who wants no motion changes the pictures with the space bar.
      if (at.mode === "blink" && !matchMedia("(prefers-reduced-motion: reduce)").matches) timer = setInterval(flip, BLINK);
      draw();
    }
    function size(step) {
      at.size = Math.min(Math.max(at.size + step, 0), SIZES.length - 1);
      draw();
    }
    function flip() {
      at.second = !at.second;
      for (const figure of dialog.querySelectorAll("[data-blink]")) figure.hidden = (figure.dataset.blink === "base") !== at.second;
    }

    function close() {
      clearInterval(timer);
      dialog.removeEventListener("keydown", pressed);
      dialog.removeEventListener("close", close);
      dialog.replaceChildren();
      viewing.left(at.number);
      const row = document.querySelector(`.grid-row[data-row="${at.number}"]`);
      (row?.querySelectorAll("button.shot")[viewing.columns().indexOf(at.method)] ?? document.getElementById("grid")).focus();
    }
    function pressed(event) {
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (event.ctrlKey || event.metaKey || event.altKey || !(key in act)) return;
      if (key === " " && at.mode !== "blink") return;
      event.preventDefault();
      act[key]();
    }

    const width = () => {
      const own = index.size ? index.size[0] : 64;
      const two = at.mode === "side" ? 2 : 1;
      const fitting = Math.max(160, Math.min((innerWidth - 80) / two - 16, innerHeight - 330, Math.max(own, 512)));
      return fitting * SIZES[at.size];
    };

    function figure(shot, blink) {
      const veiled = shot.flagged && !state.all && !state.revealed.has(shot.large);
      const image = shot.large && element("img", { src: shot.large, alt: veiled ? "a flagged picture, blurred" : `by ${shot.method}`, class: width() > 1.5 * (index.size?.[0] ?? 1) ? "pixels" : null });
      if (image) image.style.width = `${width()}px`;
      return element(
        "figure",
        blink ? { data: { blink } } : {},
        element("figcaption", {}, report.headOf(shot.method)),
        element(
          "div",
          { class: veiled ? "frame veiled" : "frame" },
          image ?? "no picture",
          veiled && image
            ? element("button", { type: "button", class: "veil", on: { click: () => (state.revealed.add(shot.large), draw()) } }, "flagged: show")
            : null,
        ),
      );
    }

    async function draw() {
      at.turn += 1;
      const own = at.turn;
      const row = await viewing.at(at.number);
      if (own !== at.turn || !dialog.open) return;
      const [shot, base] = [row.shot(at.method), row.shot(index.base)];
      const pair = at.mode !== "one" && at.method !== index.base;
      const button = (text, label, key, pressedNow) =>
        element("button", { type: "button", "aria-label": label, "aria-pressed": pressedNow === undefined ? null : String(pressedNow), title: label, on: { click: act[key] } }, text);
      const shots =
        !pair ? [figure(shot)] : at.mode === "side" ? [figure(base), figure(shot)] : [figure(shot, "own"), figure(base, "base")];
      const held = document.activeElement?.getAttribute("aria-label");
      dialog.replaceChildren(
        element(
          "div",
          { class: "viewer-bar" },
          element("span", { class: "where" }, `row ${(at.number + 1).toLocaleString("en-US")} of ${viewing.length.toLocaleString("en-US")}`),
          button("←", "Previous method (left)", "ArrowLeft"),
          button("→", "Next method (right)", "ArrowRight"),
          button("↑", "Previous prompt (up)", "ArrowUp"),
          button("↓", "Next prompt (down)", "ArrowDown"),
          button("Side by side", "Beside the base (S)", "s", at.mode === "side"),
          button("Blink", "In turn with the base (B)", "b", at.mode === "blink"),
          button("−", "Smaller (-)", "-"),
          button("+", "Larger (+)", "+"),
          element("button", { type: "button", "aria-label": "Close (Escape)", title: "Close (Escape)", on: { click: () => dialog.close() } }, "✕"),
        ),
        element(
          "div",
          { class: "viewer-body" },
          element("div", { class: "viewer-shots" }, ...shots),
          element("p", { class: "viewer-text", dir: "auto" }, row.text || row.id),
          element("p", { class: "hint" }, `${row.group.concept} · ${row.group.role} · ${row.id} · seed ${row.seed}${row.image ? ` · no. ${row.image}` : ""}`),
          scores(row, at.method === index.base ? [base] : [base, shot]),
        ),
      );
      if (pair && at.mode === "blink") {
        at.second = !at.second;
        flip();
      }
      (dialog.querySelector(`[aria-label="${CSS.escape(held ?? "")}"]`) ?? dialog.querySelector("[aria-label^=Close]")).focus();
    }

    // A column for each of the shots; the verdict is that of the last.
    function scores(row, shots) {
      const shot = shots.at(-1);
      const lines = index.metrics.flatMap((metric, number) => {
        const [value, why] = [shot.value(number), shot.reason(number)];
        if (shots.every((each) => each.value(number) === null) && !why) return [];
        const found = report.outcome(metric, row.group.role, value);
        return [
          element(
            "tr",
            {},
            element("th", { scope: "row" }, metric.title),
            ...shots.map((each) => element("td", { title: each.reason(number) }, report.scoreText(metric, each.value(number)))),
            element("td", { class: `outcome ${found?.state ?? ""}` }, value === null ? why : (found?.word ?? "")),
          ),
        ];
      });
      const heads = ["score", ...shots.map((each) => report.headOf(each.method)), ""];
      return element(
        "table",
        { class: "viewer-scores" },
        element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)))),
        element("tbody", {}, ...lines),
      );
    }

    dialog.addEventListener("keydown", pressed);
    dialog.addEventListener("close", close);
    dialog.showModal();
    draw();
  };
})();
