"""Two finished runs beside each other: what changed from one to the other, and may the newer one go out?

- `finished`: a run's folder as numbers, from its files alone: no evaluator, model or store is needed.
- `changes`: rows of both runs paired by prompt and noise: intervals, tests, detectable changes.
- `flips`: pictures whose verdict is another one in the newer run.
- `policy`, `gate`: which changes and levels are allowed, and whether a run keeps to them.
"""
