"use strict";
// Puts everything in its place once the page's data are there.
(() => {
  const report = window.erasureReport;
  const at = (id) => document.getElementById(id);
  report.leaderboard(at("table"), at("table-controls"), at("table-count"));
  report.tradeoff(at("tradeoff-plot"), at("tradeoff-controls"));
  report.intervals(at("intervals-plot"), at("intervals-controls"));
  if (at("concepts")) report.concepts(at("concepts-plot"), at("concepts-controls"));
  report.costs(at("costs"));
  report.losses(at("losses"));
  report.grid(at("grid"), at("pictures-controls"), at("pictures-count"));
})();
