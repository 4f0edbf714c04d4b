"""`python -m benchmarks.report_loading`: a report of many pictures, built and used in Chromium.

The run is made up: tiny one-coloured pictures of ten methods with four scores each. For each number of
pictures: how long the report takes to build and how large its index is; in headless Chromium, opened from the
file system, how long until the first pictures are seen, how long a jump to the last row takes and a search
through all of them, and what that takes of memory. Needs Playwright and Chromium, see docs/report.md.
"""

import argparse
import io
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.recording import MEMORY, record
from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.reporting.leaderboard import COLUMNS
from erasure_bench.bench.reporting.metric_record import metric_record
from erasure_bench.bench.site.reading import ReportedRun
from erasure_bench.bench.site.site import write_site
from erasure_bench.bench.storage.store import Store
from erasure_bench.evaluators.base import Metric, by_role

OUT = Path("results/performance/report-loading.json")
SIZES = (1_000, 10_000, 50_000)
METHODS = ("none", *(f"method-{number}" for number in range(1, 10)))
CONCEPTS, ROLES = ("one", "two"), ("target", "retention")
SIDE, AT_ONCE = 16, 64
METRICS = (
    Metric("accuracy", "class accuracy", "share", (0.0, 1.0), by_role("lower", "higher"), kind="share"),
    Metric("probability", "class probability", "probability", (0.0, 1.0), by_role("lower", "higher")),
    Metric("cosine", "CLIP cosine", "cosine", (-1.0, 1.0), by_role("lower", "higher"), kind="free"),
    Metric("distance", "distance", "distance", (0.0, 1.0), by_role("neither", "lower")),
)
WHEN_SEEN = "() => [...document.querySelectorAll('.grid-row img')].some(i => i.complete && i.naturalWidth)"
ONE_FOUND = "() => document.getElementById('pictures-count').textContent.startsWith('1 rows')"
LAST_ROW = ".grid-row[data-row='%d'] img"


class Place(NamedTuple):
    """One row of the report's grid."""

    concept: str
    role: str
    prompt_id: str


def made_up(pictures: int, store: Store) -> ReportedRun:
    """A run of so many pictures, which lie in the store."""
    each = pictures // (len(METHODS) * len(CONCEPTS) * len(ROLES))
    rows = [Place(c, r, f"{c}/{r}/{n:05d}") for c in CONCEPTS for r in ROLES for n in range(each)]
    generator = np.random.default_rng(0)
    values = generator.random((len(METHODS), len(rows), len(METRICS)))
    values[:, :, 0] = values[:, :, 0] > 0.5
    evaluators = {
        "made-up": {"key": "0" * 12, "protocol": {}, "metrics": [metric_record(m) for m in METRICS]}
    }
    document = {
        "title": f"{pictures:,} made-up pictures",
        "suite": "made-up",
        "suite_version": "1",
        "model": "none",
        "model_digest": "0" * 64,
        "plan": "0" * 64,
        "methods": list(METHODS),
        "baseline": METHODS[0],
        "concepts": list(CONCEPTS),
        "seeds": [0],
        "protocol": {},
        "versions": {},
        "drawn_with": {},
        "evaluators": evaluators,
        "notes": [],
        "failures": [],
        "rows": list(_numbers(rows, values)),
    }
    cells = [_cell(store, method, concept, rows) for method in METHODS for concept in CONCEPTS]
    run = {
        "store": str(store.root),
        "cells": cells,
        "files": {},
        "config": {"dtype": "float32"},
        "method_settings": [],
    }
    prompts = {row.prompt_id: f"prompt {row.prompt_id}: a made-up picture of something" for row in rows}
    return ReportedRun(Path("made-up"), run, document, _scores(rows, values), prompts)


def _numbers(rows: list[Place], values: Any) -> Iterator[dict[str, Any]]:
    for place, method in enumerate(METHODS):
        for role in ROLES:
            own = [number for number, row in enumerate(rows) if row.role == role]
            for number, metric in enumerate(METRICS):
                mean = float(values[place, own, number].mean())
                yield {
                    **dict.fromkeys(COLUMNS),
                    **{"method": method, "scope": "overall", "concept": "overall", "role": role},
                    **{"evaluator": "made-up", "metric": metric.name, "title": metric.title},
                    **{"unit": metric.unit, "better": metric.better[role], "aggregate": "mean"},  # type: ignore[index]
                    **{"headline": True, "value": mean, "low": mean - 0.01, "high": mean + 0.01},
                    **{"images": len(own), "prompts": len(own), "missing": 0, "pairs": 0, "status": "ok"},
                    **{"reason": "", "best": False, "breakdown": "", "column": ""},
                }


def _scores(rows: list[Place], values: Any) -> pd.DataFrame:
    parts = []
    for place, method in enumerate(METHODS):
        for number, metric in enumerate(METRICS):
            frame = pd.DataFrame(rows)
            frame["method"], frame["metric"], frame["value"] = method, metric.name, values[place, :, number]
            parts.append(frame)
    scores = pd.concat(parts, ignore_index=True)
    scores["evaluator"], scores["evaluator_protocol"], scores["repeated"] = "made-up", "0" * 12, False
    return scores.assign(seed=0, image_index=0, status="ok", reason="")


def _cell(store: Store, method: str, concept: str, rows: list[Place]) -> dict[str, Any]:
    images = {}
    for role in ROLES:
        own = [row for row in rows if (row.concept, row.role) == (concept, role)]
        images[role] = [
            _drawn(store, content_id([method, concept, role, start]), own[start : start + AT_ONCE])
            for start in range(0, len(own), AT_ONCE)
        ]
    cost = {"erase_seconds": 1.0, "peak_memory_bytes": 0, "generate_seconds": 1.0, "images": len(rows)}
    return {"method": method, "concept": concept, "seed": 0, "images": images, "cost": cost}


def _drawn(store: Store, task: str, rows: list[Place]) -> str:
    with store.writing("generate", task) as draft:
        for number, row in enumerate(rows):
            (draft.folder / f"{number:03d}.png").write_bytes(_picture(content_id([task, row.prompt_id])))
        draft.about = {
            "images": [
                {"file": f"{number:03d}.png", "prompt_id": row.prompt_id, "image_index": 0}
                for number, row in enumerate(rows)
            ]
        }
    return f"generate/{task[:2]}/{task}"


def _picture(name: str) -> bytes:
    """One colour, another for each name."""
    colour = (int(name[:2], 16), int(name[2:4], 16), int(name[4:6], 16))
    buffer = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def used(index: Path, browser: str, profile: Path) -> dict[str, float]:
    """Seconds and MiB of the report in Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=browser, args=["--no-sandbox"], viewport={"width": 1280, "height": 900}
        )
        page = context.new_page()
        tools = context.new_cdp_session(page)
        tools.send("Performance.enable")
        found: dict[str, float] = {}

        def note(what: str, started: float) -> None:
            found[f"{what}_seconds"] = round(time.perf_counter() - started, 2)
            tools.send("HeapProfiler.collectGarbage")
            metrics = {
                each["name"]: each["value"] for each in tools.send("Performance.getMetrics")["metrics"]
            }
            found[f"{what}_heap_mib"] = round(metrics["JSHeapUsedSize"] / 2**20, 1)
            found[f"{what}_elements"] = page.evaluate("document.getElementsByTagName('*').length")
            found[f"{what}_renderer_mib"] = round(_renderers(profile) / 2**20, 1)

        started = time.perf_counter()
        page.goto(index.as_uri())
        page.evaluate("document.getElementById('pictures').scrollIntoView()")
        page.wait_for_function(WHEN_SEEN)
        note("first_pictures", started)
        rows = int(page.locator("#pictures-count").inner_text().split()[0].replace(",", ""))
        started = time.perf_counter()
        page.evaluate("() => { const g = document.getElementById('grid'); g.scrollTop = g.scrollHeight; }")
        page.wait_for_function("place => document.querySelector(place)?.complete", arg=LAST_ROW % (rows - 1))
        note("last_row", started)
        started = time.perf_counter()
        page.get_by_label("Find in prompts").fill("two/retention/00000")
        page.wait_for_function(ONE_FOUND)
        page.wait_for_function(WHEN_SEEN)
        note("search_of_all", started)
        context.close()
    return found


def _renderers(profile: Path) -> int:
    """Bytes that the pages of this Chromium hold for themselves; as Linux tells them."""
    words: dict[int, str] = {}
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace")
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended
    total = 0
    for process, line in words.items():
        if "--type=renderer" in line and any(
            str(profile) in words.get(up, "") for up in _above(process, parents)
        ):
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            total += sum(int(each.split()[1]) * 1024 for each in rollup if each.startswith("Private_"))
    return total


def _above(process: int, parents: Mapping[int, int]) -> Iterator[int]:
    while process in parents:
        yield process
        process = parents[process]


def measured(pictures: int, browser: str) -> Mapping[str, Any]:
    """One size of report."""
    memory = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as stored, tempfile.TemporaryDirectory() as folder:
        with Store(Path(stored) / "store") as store:
            run = made_up(pictures, store)
            started = time.perf_counter()
            written = write_site([run], Path(folder) / "report")
            build = time.perf_counter() - started
        data = sum(file.stat().st_size for file in (Path(folder) / "report" / "data").rglob("*.js"))
        return {
            "pictures": written.pictures.shown,
            "build_seconds": round(build, 1),
            "index_mib": round(data / 2**20, 2),
            **used(written.page, browser, Path(folder) / "profile"),
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report_loading", description=__doc__)
    parser.add_argument("--pictures", default=",".join(map(str, SIZES)), help="comma list")
    parser.add_argument("--browser", default=shutil.which("chromium"), help="Chromium's executable")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    if given.browser is None:
        parser.error("no chromium on the path: give --browser")
    sizes = [int(size) for size in given.pictures.split(",")]
    record({"reports": [measured(size, given.browser) for size in sizes]}, given.out)


if __name__ == "__main__":
    main()
