"""A new suite to begin with: two files that run at once on the built-in model."""

import re
from pathlib import Path

from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.registry import SUITES

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

YAML = """\
# A suite: what is erased, how pictures are drawn, and the prompts that show what became of it.
# `bench suite check ./NAME.yaml` says what is wrong, or what it holds.
name: NAME
version: "1"
title: TITLE
description: What it measures, and why. Another sentence for whoever reads the table.
source: made by hand
licence: CC0-1.0
model: microworld
protocol: {scheduler: ddim, steps: 20, guidance_scale: 4.0, images_per_prompt: 2}
evaluators: [clip, distance, coherence, diversity]

concepts:
  - name: grumpy cat # --concepts grumpy-cat
    kind: instance # or style, identity, implicit, object, memorised, unsafe
    targets: [grumpy cat] # phrases that name it: methods train on them
    anchor: cat # what should appear instead
    neighbours: [tuxedo cat, ginger cat] # close concepts that must survive

prompts:
  - file: NAME.csv
"""

CSV = """\
role,prompt,subject
target,a photo of {},{}
target,a painting of {},{}
target,a drawing of {},{}
target,a picture of {} in the snow,{}
anchor,a photo of a cat,cat
anchor,a painting of a cat,cat
neighbour,a photo of a tuxedo cat,tuxedo cat
neighbour,a painting of a ginger cat,ginger cat
retention,a photo of a house,house
retention,a photo of a tree,tree
retention,a painting of a boat,boat
retention,a painting of a flower,flower
"""
"""`{}` stands for the concept's first target phrase. With fewer pictures there would be no `coherence`,
with one prompt of a role no interval."""


def new_suite(name: str, folder: Path) -> tuple[Path, Path]:
    """Writes `name`.yaml and `name`.csv into `folder`; raises BenchError where one is there already.

    And for the name of a suite of the project, which no file may have.
    """
    if not NAME.fullmatch(name):
        raise BenchError(
            f"{name!r} is no name for a suite: small letters, digits, dots, dashes (bench suite new)"
        )
    if name in SUITES:
        raise BenchError(f"{name!r} is a suite of the project: take another name (bench suite new)")
    files = (folder / f"{name}.yaml", folder / f"{name}.csv")
    for path in files:
        if path.exists() or path.is_symlink():
            raise BenchError(f"{path} is there already: take another name, or another folder (--out)")
    title = name.replace("-", " ").replace("_", " ").capitalize()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(files, (YAML, CSV), strict=True):
            path.write_text(text.replace("NAME", name).replace("TITLE", title), encoding="utf-8")
    except OSError as error:
        raise BenchError(
            f"{error.filename or folder}: cannot be written: {error.strerror or error}"
        ) from error
    return files
