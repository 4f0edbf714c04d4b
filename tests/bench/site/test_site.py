"""The report's files: what others wrote becomes no markup and no code, no file of the reader's is lost."""

import gzip
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.reporting.record import portable, read_record, write_record
from erasure_bench.bench.site.pages import POLICY, STATIC
from erasure_bench.bench.site.reading import read_reported, run_folders, slugs
from erasure_bench.bench.site.scripts import columnar, rounded, write_call
from erasure_bench.bench.site.site import write_site
from erasure_bench.errors import BenchError
from tests.bench.site.conftest import HOSTILE, NAMES

OWN_SCRIPTS = sorted(Path(str(STATIC)).glob("*.js"))


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def tags(page: Path) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.seen


def data(file: Path) -> Any:
    """What a data file's one call is given."""
    text = file.read_text(encoding="ascii")
    found = re.fullmatch(r"[A-Za-z.]+\((.*)\);\n", text, re.DOTALL)
    assert found
    return json.loads(found[1])


def chunks(site: Path) -> list[Any]:
    return [data(file) for file in sorted(site.glob("data/*/pictures-*.js"))]


def test_a_page_has_a_policy_and_nothing_inline(site: Path) -> None:
    found = tags(site / "index.html")
    policies = [a["content"] for tag, a in found if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [POLICY] and "unsafe" not in POLICY and "http" not in POLICY
    for tag, attributes in found:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        if tag == "script":
            assert attributes["src"] and not attributes["src"].startswith(("http", "//"))
        assert tag not in ("b", "img", "iframe", "object")
    assert not re.search(r"<script[^>]*>[^<]", (site / "index.html").read_text())


def test_everything_that_a_page_names_lies_beside_it(site: Path) -> None:
    for tag, attributes in tags(site / "index.html"):
        for name in ("src", "href"):
            if (address := attributes.get(name)) and not address.startswith("#"):
                assert (site / address).is_file(), (tag, address)


@pytest.mark.parametrize("script", OWN_SCRIPTS, ids=lambda path: path.name)
def test_scripts_make_no_markup_and_no_code_of_text(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        ".html(",
    ):
        assert word not in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), "no network"


def test_the_vendored_library_is_small_and_has_its_licence() -> None:
    vendor = Path(str(STATIC)) / "vendor"
    assert {path.name for path in vendor.iterdir()} == {"d3.min.js", "d3.LICENSE.txt"}
    assert sum(path.stat().st_size for path in vendor.iterdir()) < 500_000
    assert "Permission to use, copy, modify" in (vendor / "d3.LICENSE.txt").read_text()


def test_prompts_are_shown_word_for_word_without_what_would_be_obeyed(site: Path) -> None:
    shown = {text for chunk in chunks(site) for _, text in chunk["prompts"]}
    assert HOSTILE[0] in shown and HOSTILE[1] in shown and HOSTILE[2] in shown
    assert not any("\u202e" in text or "\u2066" in text for text in shown)
    assert any("\\u202e" in text and "مرحبا" in text for text in shown)
    for file in site.glob("data/*/*.js"):
        raw = file.read_text(encoding="ascii")
        assert "<" not in raw and raw.count("\n") == 1


def test_a_picture_is_there_once_and_its_scores_are_those_of_the_run(site: Path, finished: Path) -> None:
    scores = read_reported(finished).scores
    key = ["method", "concept", "role", "seed", "prompt_id", "image_index"]
    known = scores[scores["metric"] == "raw"].set_index(key)["value"]
    index = data(next(site.glob("data/*/pictures.js")))
    metric = next(i for i, m in enumerate(index["metrics"]) if m["name"] == "raw")
    compared = 0
    for group in index["groups"]:
        for part in group["chunks"]:
            chunk = data(site / "data" / "tiny" / part["name"])
            for row, (prompt, seed, image) in enumerate(chunk["rows"]):
                for place, method in enumerate(index["methods"]):
                    at = row * len(index["methods"]) + place
                    name = method, group["concept"], group["role"], seed, chunk["prompts"][prompt][0], image
                    value = chunk["values"][at * len(index["metrics"]) + metric]
                    assert value == pytest.approx(known[name], rel=1e-5), name
                    folder, file, small = chunk["pictures"][at]
                    png = site / "pictures" / "tiny" / index["folders"][folder] / f"{file}.png"
                    with Image.open(png) as picture:
                        assert np.asarray(picture).mean() == pytest.approx(value, rel=1e-5) and not small
                    compared += 1
    assert compared == len(known)
    pngs = [path.read_bytes() for path in site.glob("pictures/*/*/*.png")]
    assert len(pngs) < index["pictures"], "what two concepts share is copied once"


def test_a_failed_detector_is_a_reason_never_a_safe_picture(site: Path) -> None:
    index = data(next(site.glob("data/*/pictures.js")))
    chunk = chunks(site)[0]
    assert "the detector <i>failed</i>" in chunk["words"]
    bad = next(i for i, m in enumerate(index["metrics"]) if m["name"] == "bad")
    places = {place for place, _ in chunk["reasons"]}
    assert all(chunk["values"][place] is None and place % len(index["metrics"]) == bad for place in places)


def test_flagged_pictures_are_marked_or_left_out(finished: Path, site: Path, tmp_path: Path) -> None:
    run = read_reported(finished)
    flagged = run.scores.query("metric == 'bad' and value == 1.0")
    assert len(flagged)
    assert sum(chunk["flags"].count("1") for chunk in chunks(site)) == len(flagged)
    written = write_site([run], tmp_path / "clean", flagged=False)
    assert written.pictures.flagged == len(flagged)
    for chunk in chunks(tmp_path / "clean"):
        for place, flag in enumerate(chunk["flags"]):
            assert flag == "0" or chunk["pictures"][place] == 0
    kept = {path.read_bytes() for path in tmp_path.glob("clean/pictures/*/*/*.png")}
    left = {path.read_bytes() for path in site.glob("pictures/*/*/*.png")} - kept
    assert left


def test_pictures_of_an_unsafe_concept_are_veiled_unless_found_harmless(
    finished: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    for case in record["concept_definitions"].values():
        case["erased"][0]["kind"] = "unsafe"
    write_record(folder, record)
    run = read_reported(folder)
    written = write_site([run], tmp_path / "out")
    unknown = run.scores.query("metric == 'bad'")
    assert written.pictures.flagged == ((unknown["value"] != 0.0).sum())
    assert unknown["value"].isna().any()


def test_a_damaged_picture_is_left_out_and_the_store_stays_as_it_was(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished.parent, tmp_path / "all") / "run"
    record = json.loads((folder / "run.json").read_text())
    record["store"] = str(folder.parent / "store")
    write_record(folder, record)
    store = folder.parent / "store"
    victim = sorted(store.glob("generate/*/*/000.png"))[0]
    victim.write_bytes(victim.read_bytes()[:-1] + b"!")
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    assert write_site([read_reported(folder)], tmp_path / "out").pictures.gone > 0
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


def test_a_run_without_its_store_shows_its_scores_alone(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    write_record(folder, portable(read_record(folder)))
    counted = write_site([read_reported(folder)], tmp_path / "out").pictures
    assert counted.shown == 0 and counted.gone > 0
    assert not list(tmp_path.glob("out/pictures/*/*/*.png"))


def test_a_forged_run_brings_no_file_from_elsewhere(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    for cell in record["cells"]:
        cell["images"] = {role: ["../../../etc", "generate/../../etc"] for role in cell["images"]}
    write_record(folder, record)
    assert write_site([read_reported(folder)], tmp_path / "out").pictures.shown == 0


@pytest.mark.parametrize("packed", [False, True])
def test_a_table_alone_is_enough(packed: bool, finished: Path, tmp_path: Path) -> None:
    """As in the results that the project commits: no leaderboard.json, no pictures, no list of prompts."""
    folder = shutil.copytree(finished, tmp_path / "run")
    whole = read_reported(folder)
    for name in ("leaderboard.json", "prompts.parquet"):
        (folder / name).unlink()
    if packed:
        table = folder / "leaderboard.csv"
        (folder / "leaderboard.csv.gz").write_bytes(gzip.compress(table.read_bytes()))
        table.unlink()
    write_record(folder, portable(read_record(finished)))
    run = read_reported(folder)
    assert [row["value"] for row in run.document["rows"]] == pytest.approx(
        [row["value"] for row in whole.document["rows"]], nan_ok=True
    )
    assert [row["verdict"] for row in run.document["rows"]] == [
        row["verdict"] for row in whole.document["rows"]
    ]
    assert run.prompts == {}
    write_site([run], tmp_path / "out")

    record = read_record(folder)
    for key in ("notes", "evaluators"):
        write_record(folder, {name: value for name, value in record.items() if name != key})
        with pytest.raises(BenchError, match=f"leaderboard.csv.*{key}: Field required"):
            read_reported(folder)


@pytest.mark.parametrize(
    ("packed", "why"),
    [
        (gzip.compress(bytes(2**27)), "unpacked it is larger than"),
        (gzip.compress(b"method\n")[:-9], "cannot be read"),
        (b"method\n", "cannot be read"),
    ],
    ids=["a bomb", "cut off", "no gzip"],
)
def test_a_packed_table_that_is_none_is_refused(
    packed: bytes, why: str, finished: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    for name in ("leaderboard.json", "leaderboard.csv"):
        (folder / name).unlink()
    (folder / "leaderboard.csv.gz").write_bytes(packed)
    write_record(folder, portable(read_record(finished)))
    with pytest.raises(BenchError, match=why):
        read_reported(folder)


def test_several_runs_have_a_page_each_and_one_that_leads_to_them(finished: Path, tmp_path: Path) -> None:
    runs = [read_reported(finished), read_reported(finished)]
    write_site(runs, tmp_path / "out")
    linked = {a["href"] for tag, a in tags(tmp_path / "out" / "index.html") if tag == "a"}
    assert {"tiny.html", "tiny-2.html"} <= linked
    assert not any(tag == "b" for tag, _ in tags(tmp_path / "out" / "index.html"))
    for page in ("tiny.html", "tiny-2.html"):
        assert (tmp_path / "out" / page).is_file()


def test_runs_of_one_suite_are_told_apart_by_their_folders(finished: Path, tmp_path: Path) -> None:
    for name in ("old", "new <b>"):
        shutil.copytree(finished, tmp_path / name)
    write_site([read_reported(tmp_path / name) for name in ("old", "new <b>")], tmp_path / "out")
    overview = (tmp_path / "out" / "index.html").read_text()
    for name in ("tiny: old", "tiny: new &lt;b&gt;"):
        assert overview.count(name) == 2, "in the menu and above the verdicts"
    assert "old</dd>" in (tmp_path / "out" / "tiny.html").read_text()


def test_an_earlier_report_is_replaced_and_nothing_else(finished: Path, site: Path, tmp_path: Path) -> None:
    out = shutil.copytree(site, tmp_path / "report")
    (out / "stale.html").write_text("old")
    write_site([read_reported(finished)], out)
    assert (out / "index.html").is_file() and not (out / "stale.html").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("all of it")
    with pytest.raises(BenchError, match="no report"):
        write_site([read_reported(finished)], mine)
    with pytest.raises(BenchError, match="made from"):
        write_site([read_reported(finished)], finished)
    with pytest.raises(BenchError, match="holds tasks alone"):
        write_site([read_reported(finished)], finished.parent / "store" / "report")
    assert (mine / "thesis.tex").read_text() == "all of it" and (finished / "run.json").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"report", "mine"}


def test_the_command_says_where_the_report_is(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run_command(["report", str(finished), "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["index"] == str(out / "index.html") and said["shown"] > 0 and said["runs"] == 1
    assert run_command(["report", str(finished.parent), "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out / "index.html")
    assert run_command(["report", str(tmp_path / "nothing")]) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "nothing" in error


def test_a_folder_of_runs_is_all_of_them(finished: Path, tmp_path: Path) -> None:
    for name in ("b", "a"):
        shutil.copytree(finished, tmp_path / name)
    assert [path.name for path in run_folders(tmp_path)] == ["a", "b"]
    assert run_folders(tmp_path / "a") == [tmp_path / "a"]


def test_names_become_files_that_no_system_minds() -> None:
    assert slugs(["../../etc", "A b", "a-b", "<>", ""]) == ["etc", "a-b", "a-b-2", "run", "run-2"]


def test_data_is_ascii_and_exact(tmp_path: Path) -> None:
    write_call(tmp_path / "x.js", "f", {"a": "</script>\u2028é"})
    assert (tmp_path / "x.js").read_bytes() == b'f({"a":"\\u003c/script>\\u2028\\u00e9"});\n'
    assert [rounded(v) for v in (1.0, 0.12345678, float("nan"), None, -0.0)] == [1, 0.123457, None, None, 0]
    table = columnar([{"a": "x", "b": 1.5}, {"a": None, "b": None}, {"a": "x", "b": 2}], ("a", "b"))
    assert table == {"words": ["x"], "texts": ["a"], "columns": {"a": [0, None, 0], "b": [1.5, None, 2]}}


def test_the_table_is_there_for_papers(site: Path) -> None:
    text = (site / "downloads" / "tiny" / "leaderboard.tex").read_text(encoding="utf-8")
    assert "\\toprule" in text and "{\\textless}b{\\textgreater}dim" in text.replace(" ", "")
    addresses = {a["href"] for tag, a in tags(site / "index.html") if tag == "a" and "download" in a}
    assert {f"downloads/tiny/leaderboard.{kind}" for kind in ("csv", "tex", "md", "json")} < addresses


def test_hostile_method_names_are_there(site: Path) -> None:
    numbers = data(next(site.glob("data/*/numbers.js")))
    assert [each["name"] for each in numbers["methods"]][1:] == list(NAMES)
