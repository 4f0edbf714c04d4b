"""A finished run's tables for papers, pages and programs.

- `layouts.yaml`, `layout`: what a table shows, as data: the leaderboard, and papers' tables.
- `selection`: which rows and columns, in which order, with how many decimals.
- `arranged`: a board in a layout, as panels of columns; the formats below only write these.
- `latex`, `html`, `plain` (terminal and Markdown), `data` (CSV and JSON).
- `total`: one number of all roles, for those who ask for it.
"""
