"""A small run whose names and prompts are as hostile as they may be, its report, and a real browser."""

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from erasure_bench.bench.planning.chosen import BASELINE
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.running.pictures import read_pictures
from erasure_bench.bench.running.scoring import SCORES_FILE
from erasure_bench.bench.site.reading import read_reported
from erasure_bench.bench.site.site import write_site
from erasure_bench.bench.storage.store import Store
from erasure_bench.evaluators.base import Metric, ScoreSheet, by_role
from tests.bench.fake_run import METRICS, FakeWorker, evaluator, method, run, tiny_plan, tiny_suite

HOSTILE = (
    "<script>window.hurt = 1</script>",
    '"><img src=x onerror="window.hurt = 2">',
    '=HYPERLINK("http://example.com"),\'); alert(1); //',
    "</script><svg onload=window.hurt=3>${window.hurt=4}{{7*7}}\u2028",
    "\u202e\u05d0\u05d1\u05d2 مرحبا بالعالم, left \u2066right",
    "long " * 2000,
)
NAMES = ("<b>dim</b>", "quote\"'&", "plain")
EXTRA = (
    Metric("seen", "concept seen", "share", (0.0, 1.0), by_role("lower", "higher"), kind="share"),
    Metric("bad", "flagged", "share", (0.0, 1.0), by_role("lower"), kind="share", unsafe=True),
)


class Scorer(FakeWorker):
    """Sees the concept in bright pictures, flags the brightest, and cannot decide about the second prompt."""

    def score(self, task: Any) -> None:
        pictures = read_pictures(self.store.entry("generate", task.generate.id), task.generate)
        with self.store.writing(task.kind, task.id) as draft:
            sheet = ScoreSheet()
            for number, picture in enumerate(pictures):
                mean = float(picture.pixels.mean())
                sheet.add(picture, brightness=mean / 255, spots=0.0, raw=mean, seen=float(mean > 90))
                if number == 1:
                    sheet.missing(picture, ["bad"], "the detector <i>failed</i>")
                else:
                    sheet.add(picture, bad=float(mean > 130))
            sheet.frame().to_parquet(draft.folder / SCORES_FILE, index=False)
            draft.about = {"evaluator": task.evaluator, "generate": task.generate.id}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder: three methods, two concepts, hostile prompts."""
    folder = tmp_path_factory.mktemp("reported")
    suite = tiny_suite(prompts=len(HOSTILE), images_per_prompt=1)
    prompts = {
        concept: tuple(
            dataclasses.replace(prompt, text=HOSTILE[place % len(HOSTILE)])
            for place, prompt in enumerate(own)
        )
        for concept, own in suite.prompts.items()
    }
    methods = [
        method(BASELINE),
        *(method(n, strength=s) for n, s in zip(NAMES, (0.8, 0.4, 0.1), strict=True)),
    ]
    plan = tiny_plan(
        RunConfig(suite="tiny", methods=NAMES),
        suite=dataclasses.replace(suite, prompts=prompts),
        methods=methods,
        evaluators=[dataclasses.replace(evaluator(detector="arithmetic"), metrics=(*METRICS, *EXTRA))],
    )
    run(plan, folder / "store", folder / "run", Scorer(Store(folder / "store")))
    return folder / "run"


@pytest.fixture(scope="session")
def site(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its report."""
    out = tmp_path_factory.mktemp("site") / "report"
    write_site([read_reported(finished)], out)
    return out


def chromium() -> str | None:
    """Where Chromium is: $CHROMIUM, else as Debian and others call it."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium; skips where Playwright or Chromium is not here."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    if (path := chromium()) is None:
        pytest.skip("no Chromium here (apt-get install chromium, or $CHROMIUM)")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()
