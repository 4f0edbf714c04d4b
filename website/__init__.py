"""What the documentation site has beside the pages of docs/: cards and commands, made from the code.

`mkdocs build --strict` builds the site; `mkdocs.yml` names `hooks.py`, which adds the pages. None of them is
kept in the repository, so none can be older than the code.
"""
