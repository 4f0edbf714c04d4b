"""The report of finished runs: a static site that opens from the file system and asks no network.

- `reading`: runs as their folders tell them; `numbers`, `pictures`, `training`: what the pages' scripts show.
- `site`: the whole, put in place at once; `pages`: its HTML, from `templates/`.
- `static/`: styles and scripts, and in `vendor/` D3 (ISC), unmodified, with its licence.
- `serving`: the report on this machine's own address.
"""
