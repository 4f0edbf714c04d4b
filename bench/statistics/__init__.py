"""How sure a number is: intervals, comparisons and verdicts. Pure numerics: arrays in, arrays out.

- `cells`: `Cells` are scores by concept (stratum), prompt (cluster) and training seed; `Groups` say which
  strata make which number; `Cells.contributions` gives what each prompt adds to each number, by which two
  methods can be compared prompt by prompt.
- `moments`: `moments(cells, groups)` gives each number's value with its variance over prompts and over seeds.
- `intervals`: `level_intervals` of values and `change_intervals` of paired changes, at any confidence, by
  what the number is a mean of (`Scale`).
- `bars`, `equivalence`, `ratios`, `detectable`: whether a bar is met, whether something stayed the same, how
  many times one level another is, how small a change so many prompts show.
- `effects`, `best`, `ranks`: methods compared prompt by prompt, which may be the best, in which places.

How often the intervals hold the true value is measured by `python -m studies.coverage`
(results/statistics/coverage.md). Which scores of a run make which cells and groups is
`bench.reporting.tabled`'s to say.
"""
