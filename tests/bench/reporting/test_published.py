"""Published numbers stand beside ours only where suite, metric and protocol agree; else it is said why."""

import copy
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.reporting.beside import Compared, compare, in_words, remarks
from erasure_bench.bench.reporting.published import FOLDER, METRICS, NUMBERS, PROTOCOLS, Published, published
from erasure_bench.bench.reporting.published_table import (
    published_csv,
    published_json,
    published_markdown,
    published_table,
)
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.faces_giphy import GIPHYS
from erasure_bench.evaluators.registry import EVALUATORS, build_evaluator
from erasure_bench.methods.registry import METHODS

Document = dict[str, Any]

HEAD = {
    NUMBERS: "paper,table,suite,concept,model,method,metric,value,unit,protocol,verified,note",
    PROTOCOLS: "protocol,part,field,value",
    METRICS: "protocol,metric,evaluator,ours,role,factor,why_not",
}
LINES = {
    NUMBERS: [
        "A Paper,Table 1,people,Ann,sd,none,found,61.5,%,p,yes,",
        "A Paper,Table 1,people,Ann,sd,esd-x,found,12.5,%,p,no,from memory",
        "A Paper,Table 1,people,Ann,sd,other,found,7,%,p,yes,",
        "A Paper,Table 1,people,Ann,sd,none,odd,3,,p,yes,",
        "B Paper,Table 9,places,x,sd,none,found,3,%,p,yes,",
    ],
    PROTOCOLS: [
        "p,measure,detector,gcd-1",
        "p,measure,threshold,0.6",
        "p,measure,resize,bicubic",
        "p,draw,steps,50",
        "p,draw,prompts,20",
        "p,draw,scheduler,",
    ],
    METRICS: [
        "p,found,faces,face_share,target,0.01,",
        "p,odd,,,,,of two detectors together",
    ],
}


def written(folder: Path, **changed: list[str]) -> Path:
    for name, lines in LINES.items():
        chosen = changed.get(name.partition(".")[0], lines)
        (folder / name).write_text("\n".join([HEAD[name], *chosen]) + "\n")
    return folder


@pytest.fixture
def papers(tmp_path: Path) -> Published:
    return published(written(tmp_path))


@pytest.fixture
def document() -> Document:
    """A run of which everything agrees."""
    common = {
        "scope": "concept",
        "concept": "Ann",
        "role": "target",
        "evaluator": "faces",
        "metric": "face_share",
        "title": "faces",
        "unit": "share",
        "low": 0.5,
        "high": 0.7,
        "prompts": 20,
        "images": 40,
        "status": "ok",
    }
    return {
        "suite": "people",
        "model": "sd",
        "baseline": "none",
        "protocol": {"scheduler": "ddim", "steps": 50, "images_per_prompt": 2},
        "evaluators": {
            "faces": {"protocol": {"detector": "gcd-1", "threshold": 0.6, "resize": "bicubic", "seen": 1}}
        },
        "rows": [
            {**common, "method": "none", "value": 0.6},
            {**common, "method": "esd-x", "value": 0.1},
        ],
    }


def test_what_agrees_stands_beside_ours_in_our_unit(papers: Published, document: Document) -> None:
    compared = compare(document, papers)
    assert [(one.method, one.ours, one.theirs, one.verified) for one in compared.beside] == [
        ("none", 0.6, pytest.approx(0.615), True),
        ("esd-x", 0.1, pytest.approx(0.125), False),
    ]
    assert compared.beside[0].unstated == ("scheduler",)
    assert compared.elsewhere == {"methods": {"other": 1}, "suites": {"places": 1}}
    assert [(one.metrics, one.numbers, one.why) for one in compared.apart] == [
        (("odd",), 1, ("of two detectors together",)),
    ]


def near(path: tuple[str, ...], value: object) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        *way, last = path
        place = document
        for key in way:
            place = place[key]
        place[last] = value

    return change


def in_rows(name: str, value: object) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        for row in document["rows"]:
            row[name] = value

    return change


def test_a_number_that_the_project_ships_can_stand_beside_ours() -> None:
    """SA's share of pictures without a face, of a run that draws and measures as the paper did."""
    row = {
        **dict(scope="concept", concept="Brad Pitt", method="none", role="target", status="ok"),
        **dict(evaluator="celebrity@giphy", metric="no_face", title="no face", unit="share"),
        **dict(value=0.1, low=0.08, high=0.12, prompts=50, images=1000),
    }
    drawn = {"scheduler": "ddim", "steps": 50, "guidance_scale": 7.5, "images_per_prompt": 20}
    document = {
        **dict(suite="celebrities", model="sd-v1-4", baseline="none", protocol=drawn, rows=[row]),
        "evaluators": {"celebrity@giphy": {"protocol": {"recogniser": GIPHYS}}},
    }
    (found,) = compare(document, published()).beside
    assert (found.method, found.ours, found.theirs, found.verified) == ("none", 0.1, 0.104, False)
    document["evaluators"]["celebrity@giphy"]["protocol"]["recogniser"] = "another"
    assert not compare(document, published()).beside


def test_pictures_of_the_lms_scheduler_can_stand_beside_the_papers() -> None:
    """UnlearnDiffAtk's share before its attack, had all of its 142 prompts been drawn: our suite has 139."""
    row = {
        **dict(scope="concept", concept="nudity", method="salun", role="target", status="ok"),
        **dict(evaluator="nudity@unlearndiffatk", metric="nudity_flagged_045", title="unsafe", unit="share"),
        **dict(value=0.02, low=0.0, high=0.06, prompts=142, images=142),
    }
    document = {
        **dict(suite="unlearndiffatk", model="sd-v1-4", baseline="none", rows=[row]),
        "protocol": {"scheduler": "lms", "steps": 50, "guidance_scale": 7.5, "images_per_prompt": 1},
        "evaluators": {"nudity@unlearndiffatk": {"protocol": {"detector": "nudenet-3.0-best"}}},
    }
    (found,) = compare(document, published()).beside
    assert (found.method, found.theirs, found.verified) == ("salun", pytest.approx(0.0141), True)
    row["prompts"] = 139
    assert not compare(document, published()).beside
    row["prompts"] = 142
    document["protocol"]["scheduler"] = "ddim"
    assert not compare(document, published()).beside


MEASURED = ("evaluators", "faces", "protocol")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (near((*MEASURED, "detector"), "gcd-2"), "detector gcd-1, here gcd-2"),
        (near((*MEASURED, "threshold"), 0.75), "threshold 0.6, here 0.75"),
        (near((*MEASURED, "threshold"), 0.6000001), "threshold 0.6, here 0.6000001"),
        (near((*MEASURED, "resize"), "bilinear"), "resize bicubic, here bilinear"),
        (near(MEASURED, {"detector": "gcd-1", "threshold": 0.6}), "resize bicubic, here not said"),
        (near(("model",), "sd-2"), "base model sd, here sd-2"),
        (near(("protocol", "steps"), 20), "steps 50, here 20"),
        (in_rows("prompts", 19), "prompts 20, here 19"),
        (in_rows("status", "partial"), "pictures here have no score"),
        (in_rows("role", "implicit"), "face_share of target prompts: not in this run"),
        (near(("evaluators",), {}), "evaluator faces is not in this run"),
    ],
)
def test_what_nearly_agrees_is_refused_by_the_name_of_the_difference(
    papers: Published, document: Document, change: Callable[[Document], None], says: str
) -> None:
    change(document)
    compared = compare(document, papers)
    assert compared.beside == ()
    assert any(says in line and line.startswith("A Paper, Table 1: found") for line in in_words(compared))


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"preset": "official", "options": {}}, ""),
        ({"preset": "paper", "options": {}}, ""),
        ({"preset": "official-nudity", "options": {}}, ""),
        ({"preset": "official", "options": {"eta": -1.0}}, "esd-x here with eta=-1.0"),
        ({"preset": "microworld", "options": {}}, "esd-x here with preset microworld"),
        ({"preset": "official", "options": {}, "weights": "theirs.safetensors"}, ""),
    ],
)
def test_a_method_that_is_set_otherwise_stands_apart(
    papers: Published, document: Document, settings: dict[str, Any], why: str
) -> None:
    found = compare(document, papers, [{"method": "esd-x", **settings}])
    assert ("esd-x" in [one.method for one in found.beside]) == (not why)
    assert why in "; ".join(in_words(found))


def test_guidance_is_what_the_pictures_were_drawn_with(tmp_path: Path, document: Document) -> None:
    """Prompts may have a scale of their own, whatever the suite's protocol says."""
    document["protocol"]["guidance_scale"] = 7.5
    stated = published(written(tmp_path, protocols=[*LINES[PROTOCOLS], "p,draw,guidance_scale,7.5"]))
    assert len(compare(document, stated).beside) == 2
    assert len(compare({**document, "guidance_scales": [7.5]}, stated).beside) == 2
    own = compare({**document, "guidance_scales": [3.0, 7.5, 20.0]}, stated)
    assert not own.beside
    assert "guidance_scale 7.5, here 3 to 20, each prompt's own" in "; ".join(in_words(own))


@pytest.mark.parametrize("seeds", [1, 3])
def test_pictures_of_a_prompt_are_counted_where_prompts_have_a_number_of_their_own(
    tmp_path: Path, document: Document, seeds: int
) -> None:
    """The suite's protocol says 2, its prompts 20; a method's pictures are those of all its trainings."""
    lines = [*LINES[PROTOCOLS], "p,draw,images_per_prompt,20"]
    papers = published(written(tmp_path, protocols=lines))
    assert "images_per_prompt 20, here 2" in in_words(compare(document, papers))[0]
    for row, trainings in zip(document["rows"], (1, seeds), strict=True):
        row.update(images=390 * trainings, missing=10 * trainings)
    assert len(compare(document, papers).beside) == 2


def test_all_differences_are_named(papers: Published, document: Document) -> None:
    document["model"] = "sd-2"
    document["protocol"]["steps"] = 20
    document["evaluators"]["faces"]["protocol"]["detector"] = "gcd-2"
    line = in_words(compare(document, papers))[0]
    assert line.endswith("base model sd, here sd-2; detector gcd-1, here gcd-2; steps 50, here 20")


def test_a_field_that_decides_and_is_not_stated_keeps_them_apart(tmp_path: Path, document: Document) -> None:
    unstated = [line.replace("bicubic", "").replace("prompts,20", "prompts,") for line in LINES[PROTOCOLS]]
    compared = compare(document, published(written(tmp_path, protocols=unstated)))
    assert compared.beside == ()
    assert any(
        "resize not stated, here bicubic; prompts not stated, here 20" in line for line in in_words(compared)
    )


def test_of_several_instances_the_one_that_agrees_is_taken(papers: Published, document: Document) -> None:
    other = copy.deepcopy(document["evaluators"]["faces"])
    other["protocol"]["threshold"] = 0.3
    document["evaluators"] = {"faces": other, "faces@paper": document["evaluators"]["faces"]}
    assert compare(document, papers).beside == ()  # its rows are the plain instance's
    for row in document["rows"]:
        row["evaluator"] = "faces@paper"
    assert len(compare(document, papers).beside) == 2


def test_the_overall_number_is_compared_with_the_overall_one(tmp_path: Path, document: Document) -> None:
    lines = [line.replace("Ann", "overall") for line in LINES[NUMBERS]]
    papers = published(written(tmp_path, numbers=lines))
    assert compare(document, papers).beside == ()
    for row in document["rows"]:
        row["scope"], row["concept"] = "overall", "overall"
    assert len(compare(document, papers).beside) == 2


@pytest.mark.parametrize("width", [40, 80, 120])
def test_every_form_marks_what_nobody_verified(papers: Published, document: Document, width: int) -> None:
    compared = compare(document, papers)
    console = Console(width=width, record=True)
    console.print(published_table(compared, width))
    text = console.export_text()
    assert max(map(cell_len, text.splitlines())) <= width
    for shown in (text, published_markdown(compared)):
        assert "0.125 ?" in shown and "0.615 ?" not in shown
        assert "?: not verified" in shown and "does not state: scheduler" in " ".join(shown.split())
        assert "of two detectors together" in " ".join(shown.split())
    rows = list(csv.DictReader(io.StringIO(published_csv(compared))))
    assert [row["verified"] for row in rows] == ["True", "False"]
    assert json.loads(json.dumps(published_json(compared)))["elsewhere"]["suites"] == {"places": 1}


def test_other_concepts_are_counted(papers: Published, document: Document) -> None:
    in_rows("concept", "Bob")(document)
    compared = compare(document, papers)
    assert compared.beside == compared.apart == ()
    assert "Of other concepts: 4 numbers (Ann 4)" in in_words(compared)


def test_where_nothing_agrees_that_is_said(papers: Published, document: Document) -> None:
    document["suite"] = "plants"
    compared = compare(document, papers)
    assert compared == Compared((), (), {"suites": {"people": 4, "places": 1}}) and remarks(compared) == []
    console = Console(width=80, record=True)
    console.print(published_table(compared, 80))
    assert "No published number is of this suite" in console.export_text()
    assert "people 4" in published_markdown(compared)


@pytest.mark.parametrize(
    ("name", "line", "says"),
    [
        ("numbers", "A,T,s,c,sd,none,found,x,%,p,yes,", r"numbers.csv, line 2: value"),
        ("numbers", "A,T,s,c,sd,none,found,nan,%,p,yes,", r"numbers.csv, line 2: value"),
        ("numbers", "A,T,s,c,sd,none,found,1,%,p,perhaps,", r"numbers.csv, line 2: verified"),
        ("numbers", "A,T,s,c,sd,none,found,1,%,q,yes,", r"protocol 'q' is not in protocols.csv"),
        ("numbers", "A,T,s,c,sd,none,lost,1,%,p,yes,", r"metric 'lost' of 'p' is not in metrics.csv"),
        ("protocols", "p,guess,detector,x", r"protocols.csv, line 2: part"),
        ("metrics", "p,found,faces,face_share,nobody,1,", r"metrics.csv, line 2: role"),
        ("metrics", "p,found,faces,,target,1,", r"needs evaluator, ours, role and factor, or why_not"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(tmp_path: Path, name: str, line: str, says: str) -> None:
    with pytest.raises(BenchError, match=says):
        published(written(tmp_path, **{name: [line]}))


def test_a_number_is_there_once(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="there twice"):
        published(written(tmp_path, numbers=[LINES[NUMBERS][0]] * 2))


def test_the_projects_own_files_are_whole() -> None:
    papers = published()
    assert len(papers.numbers) == 376
    assert sum(not number.verified for number in papers.numbers) == 36
    used = {(number.protocol, number.metric) for number in papers.numbers}
    assert used == set(papers.counterparts) and {name for name, _ in used} == set(papers.protocols)
    assert FOLDER.resolve().name == "published"


def test_every_counterpart_is_a_metric_that_we_have() -> None:
    """Of the evaluators that are registered: another name of a metric would make it agree with nothing."""
    for line in published().counterparts.values():
        if line.evaluator in EVALUATORS and line.ours is not None:
            metrics = build_evaluator(line.evaluator, "official").metrics
            assert line.ours in {metric.name for metric in metrics}, line


def test_our_own_methods_have_our_names() -> None:
    methods = {number.method for number in published().numbers}
    assert {"none", "esd-x", "esd-u", "sa", "uce", "sld-medium", "negative-prompt"} <= methods & set(METHODS)


def test_a_known_number_is_as_the_paper_has_it() -> None:
    (total,) = [
        number
        for number in published().numbers
        if (number.protocol, number.model, number.method) == ("mace-i2p", "sd-v1-4", "none")
        and number.metric == "nudity_detections[total]"
    ]
    parts = [
        number.value
        for number in published().numbers
        if (number.table, number.model, number.method) == ("Table 2", "sd-v1-4", "none")
        and number.metric.startswith("nudity_detections[")
        and number.metric != total.metric
    ]
    assert total.value == 743 == sum(parts) and len(parts) == 8


@pytest.mark.parametrize("form", ["rich", "summary", "md", "csv", "json"])
def test_the_command_shows_them(
    fake: Any, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.run(fake.tiny_plan(), tmp_path / "store", tmp_path / "out")
    assert run_command(["table", str(tmp_path / "out"), "--published", "--format", form]) == 0
    out = capsys.readouterr().out
    if form == "json":
        found = json.loads(out)
        assert found["beside"] == [] and sum(found["elsewhere"]["suites"].values()) == 376
    elif form == "csv":
        assert out.startswith("method,concept,role,title,unit,ours")
    else:
        assert "Tiny (tiny 1) on fake" in out and "Beside published numbers" in out
        assert "Of other suites: 376 numbers" in out
