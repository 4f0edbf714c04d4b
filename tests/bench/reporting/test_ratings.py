"""Ratings by people: read line by line, joined picture by picture, with the raters' agreement."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.reporting.finished import keep_ratings
from erasure_bench.bench.reporting.rated import joined, pictures_of
from erasure_bench.bench.reporting.rating_file import parse_metric, read_ratings
from erasure_bench.bench.reporting.rating_form import write_form
from erasure_bench.bench.reporting.results import gather
from erasure_bench.bench.running.failures import Failure
from erasure_bench.bench.storage.store import Store
from erasure_bench.errors import BenchError

QUALITY = "# metric: quality:higher:1:5\n"
TITLES = "method,concept,seed,prompt_id,image_index,rater,value\n"


@pytest.fixture(scope="module")
def run(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Plan, evidence and store of a finished run."""
    folder = tmp_path_factory.mktemp("rated")
    plan = fake.tiny_plan(RunConfig(suite="tiny", methods=("dim",)))
    return plan, fake.completed(plan, folder).results.evidence, Store(folder)


def read(tmp_path: Path, text: str, **how: Any) -> Any:
    path = tmp_path / "human.csv"
    path.write_text(text, encoding="utf-8")
    return read_ratings(path, **how)


def of(scores: Any, **where: Any) -> Any:
    for column, value in where.items():
        scores = scores[scores[column] == value]
    return scores


def test_a_pictures_value_is_the_mean_over_its_raters_and_others_are_missing(
    run: Any, tmp_path: Path
) -> None:
    plan, evidence, _ = run
    file = read(
        tmp_path,
        f"# name: people\n{QUALITY}{TITLES}"
        "dim,red-ball,0,red ball/t0,0,ann,2\ndim,Red Ball,0,red ball/t0,0,bob,5\n"
        "dim,red ball,,red ball/t1,1,ann,4\n",
    )
    rated = joined(plan, evidence, [file])
    own = of(rated.evidence.scores, evaluator="people")

    assert len(own) == sum(1 for _ in pictures_of(plan))
    assert of(own, prompt_id="red ball/t0", image_index=0, method="dim")["value"].tolist() == [3.5]
    assert of(own, prompt_id="red ball/t1", image_index=1, method="dim")["value"].tolist() == [4.0]
    missing = of(own, status="missing")
    assert len(missing) == len(own) - 2 and {*missing["reason"]} == {"nobody rated this picture"}
    assert [note.text for note in rated.notes] == [
        "people: quality: 3 ratings of 2 pictures; Krippendorff's α of 1 pictures with several raters: "
        f"{alpha([[2, 5]]):.2f} (interval scale)."
    ]
    document = gather(rated.plan, rated.evidence, rated.notes).document
    (row,) = [
        row
        for row in document["rows"]
        if (row["evaluator"], row["method"], row["concept"], row["role"])
        == ("people", "dim", "red ball", "target")
    ]
    assert (row["value"], row["images"], row["missing"], row["status"]) == (3.75, 2, 6, "partial")
    assert document["evaluators"]["people"]["protocol"]["raters"] == 2
    assert document["plan"] == gather(plan, evidence).document["plan"], "no task depends on ratings"


def test_a_picture_that_cells_share_is_rated_once_for_all_unless_a_concept_is_named(
    run: Any, tmp_path: Path
) -> None:
    plan, evidence, _ = run
    text = f"{QUALITY}method,concept,prompt_id,image_index,value\n"
    everywhere = joined(plan, evidence, [read(tmp_path, f"{text}none,,keep/0,0,3\n")])
    once = joined(plan, evidence, [read(tmp_path, f"{text}none,blue-cube,keep/0,0,3\n")])
    for rated, concepts in ((everywhere, {"red ball", "Blue Cube"}), (once, {"Blue Cube"})):
        assert {*of(rated.evidence.scores, evaluator="human", status="ok")["concept"]} == concepts


def test_the_form_hides_the_methods_and_read_back_gives_what_was_filled_in(run: Any, tmp_path: Path) -> None:
    plan, evidence, store = run
    metrics = ["quality:higher:1:5", "shows_it:lower/-:0:1:the concept is there"]
    form = write_form(plan, store, tmp_path / "form.csv", "people", metrics)
    text = form.file.read_text()
    lines = text.splitlines()
    pictures = {drawn.id: drawn for drawn in pictures_of(plan)}

    assert lines[:4] == ["# name: people", *(f"# metric: {each}" for each in metrics), lines[3]]
    assert "dim" not in text and "none" not in text
    assert form.pictures == len(pictures) and form.missing == 0
    assert {path.stem for path in form.folder.iterdir()} == set(pictures)
    for drawn in [*pictures.values()][:3]:
        kept = store.entry("generate", drawn.task.id).read(drawn.task.file_name(drawn.number))
        assert (form.folder / f"{drawn.id}.png").read_bytes() == kept
    order = [line.split(",")[0] for line in lines[4:]]
    assert sorted(set(order)) != list(dict.fromkeys(order)), "shuffled"
    other = write_form(plan, store, tmp_path / "again" / "form.csv", "people", metrics)
    assert other.file.read_text() == text
    assert write_form(plan, store, tmp_path / "b.csv", "b", metrics, seed=1).file.read_text() != text
    asked = [line for line in lines[4:] if ",shows_it," in line]
    assert {pictures[line.split(",")[0]].role for line in asked} == {"target"}

    rng = np.random.default_rng(0)
    values = {
        line: int(rng.integers(0, 2)) if line in asked else int(rng.integers(1, 6)) for line in lines[4:]
    }
    form.file.write_text("\n".join([*lines[:4], *(f"{line}{values[line]}" for line in lines[4:])]))
    rated = joined(plan, evidence, [read_ratings(form.file)])
    scores = of(rated.evidence.scores, evaluator="people", status="ok")
    for line, value in values.items():
        drawn = pictures[line.split(",")[0]]
        metric = "shows_it" if line in asked else "quality"
        found = of(scores, metric=metric, method=drawn.method, concept=drawn.concept)
        found = of(found, prompt_id=drawn.image.prompt.id)
        assert {*of(found, image_index=drawn.image.image_index)["value"]} == {float(value)}
    with pytest.raises(BenchError, match="is there already"):
        write_form(plan, store, form.file, "people", metrics)


def test_a_picture_is_called_by_no_number(run: Any) -> None:
    """A spreadsheet writes 12345e67 back as 1.2345E+71, and 000123456789 as 123456789."""
    plan, _, _ = run
    for drawn in pictures_of(plan):
        with pytest.raises(ValueError, match="could not convert"):
            float(drawn.id)
    assert all(drawn.id.startswith("p") for drawn in pictures_of(plan)), "whatever their digits are"


def test_rows_of_no_picture_are_named_and_left_out(run: Any, tmp_path: Path) -> None:
    plan, evidence, _ = run
    rows = "".join(f"dim,red ball,0,no/{i},0,ann,2\n" for i in range(7))
    file = read(tmp_path, f"{QUALITY}{TITLES}dim,red ball,0,red ball/t0,0,ann,2\n{rows}")
    (lost, _) = joined(plan, evidence, [file]).notes
    assert lost.weight == "caution"
    assert lost.text.startswith("human: 7 of 8 ratings are of no picture of the run: line 4 (method dim, ")
    assert lost.text.endswith("and 2 more.")


def test_pictures_that_were_never_drawn_are_no_missing_ratings(run: Any, tmp_path: Path) -> None:
    plan, evidence, _ = run
    failure = Failure(method="dim", concept="red ball", seed=0, stage="generate", reason="x", role="target")
    file = read(tmp_path, f"{QUALITY}{TITLES}none,red ball,0,red ball/t0,0,ann,2\n")
    rated = joined(plan, evidence._replace(failures=(failure,)), [file])
    own = of(rated.evidence.scores, evaluator="human", method="dim", concept="red ball")
    assert {*own["role"]} == {"anchor", "retention"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{TITLES}dim,,,red ball/t0,,,3\n", "no metric is declared"),
        (
            f"# metric: quality:up:1:5\n{TITLES}",
            "line 1: 'quality:up:1:5': write it as NAME:DIRECTION:MIN:MAX",
        ),
        (f"# metric: quality:higher:5:1\n{TITLES}", "write it as"),
        (f"# metric: a:lower:0:1\n# metric: a:lower:0:1\n{TITLES}", "metric 'a' is declared twice"),
        (f"{QUALITY}method,prompt_id\n", "line 2: no column 'value'"),
        (f"{QUALITY}picture,value,value\n", "line 2: two columns are called 'value'"),
        (f"{QUALITY}{TITLES}dim,,,red ball/t0,,ann,good\n", "line 3, column value: 'good' is no number"),
        (f"{QUALITY}{TITLES}dim,,,red ball/t0,,ann,nan\n", "line 3, column value: 'nan' is no number"),
        (f"{QUALITY}{TITLES}dim,,,red ball/t0,,ann,7\n", "line 3, column value: 7 is outside of [1, 5]"),
        (f"{QUALITY}{TITLES}dim,,x,red ball/t0,,ann,3\n", "line 3, column seed: 'x' is no whole number"),
        (
            f"{QUALITY}{TITLES}dim,,{'9' * 5000},red ball/t0,,ann,3\n",
            "9…' is no whole number from 0 to 9223372036854775807",
        ),
        (f"{QUALITY}{TITLES}dim,,0,red ball/t0,3\n", "line 3: 5 cells under 7 titles"),
        (
            f"{QUALITY}picture,metric,value\nabc,qualty,3\n",
            "line 3, column metric: 'qualty' (# metric: or --metric): did you mean quality",
        ),
        (f'{QUALITY}picture,value\nabc,"3\n', "line 3: "),
        (QUALITY, "no columns"),
    ],
)
def test_a_mistake_names_file_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BenchError) as refused:
        read(tmp_path, text)
    assert message in str(refused.value) and "human.csv" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "dim,red ball,0,red ball/t0,,ann,3\n",
            "line 3: 2 pictures are meant: say which in the column image_index",
        ),
        (
            "dim,red ball,0,red ball/t0,0,ann,3\ndim,,0,red ball/t1,0,ann,3\n"
            "dim,red ball,0,red ball/t0,0,ann,4\n",
            "line 5: ann rated quality of this picture on line 3 already",
        ),
        (
            "dim,,0,red ball/t0,0,ann,3\ndim,red ball,0,red ball/t0,0,ann,4\n",
            "line 4: ann rated quality of this picture on line 3 already",
        ),
        (
            "none,red ball,0,keep/0,0,ann,3\nnone,blue cube,0,keep/0,0,ann,4\nnone,,0,keep/0,0,ann,4\n",
            "line 5: ann rated quality of this picture on line 3 already",
        ),
        ("dimm,red ball,0,red ball/t0,0,ann,3\n", "did you mean dim"),
        ("dim,red ball,0,gone/t0,0,ann,3\n", "no row rates a picture of the run, the first: line 3"),
        ("dim,red ball,0,red ball/t0,0,ann,\n", "no row has a value"),
    ],
)
def test_a_row_that_cannot_be_joined_is_named(run: Any, tmp_path: Path, rows: str, message: str) -> None:
    plan, evidence, _ = run
    with pytest.raises(BenchError, match="human.csv") as refused:
        joined(plan, evidence, [read(tmp_path, f"{QUALITY}{TITLES}{rows}")])
    assert message in str(refused.value)


@pytest.mark.parametrize("name", ["fake", "clip"])
def test_ratings_take_no_evaluators_name(run: Any, tmp_path: Path, name: str) -> None:
    plan, evidence, _ = run
    file = read(tmp_path, f"{QUALITY}{TITLES}dim,red ball,0,red ball/t0,0,ann,3\n", name=name)
    with pytest.raises(BenchError, match=f"'{name}' is an evaluator's name"):
        joined(plan, evidence, [file])


def test_a_spreadsheets_way_of_writing_is_read_as_well(tmp_path: Path) -> None:
    lines = (
        "\ufeff# metric: quality:higher:1:5;;",
        "Picture;Value;comment",
        'abc;3;"two',
        'lines"',
        ";;",
        "abd;4;",
    )
    path = tmp_path / "human.csv"
    path.write_bytes("\r\n".join(lines).encode())
    file = read_ratings(path)
    assert [(rating.line, rating.place, rating.value) for rating in file.ratings] == [
        (3, {"picture": "abc"}, 3.0),
        (6, {"picture": "abd"}, 4.0),
    ]
    assert file.ignored == ("comment",) and file.name == "human"


def test_flags_go_before_the_files_own_words(tmp_path: Path) -> None:
    file = read(tmp_path, f"# name: a\n{QUALITY}picture,value\nx,0\n", name="b", declared=["odd:neither:0:1"])
    assert file.name == "b" and [metric.name for metric in file.metrics] == ["odd"]


def test_a_metrics_direction_is_told_by_role() -> None:
    metric = parse_metric("shows:lower/-:0:1:it is there", "--metric")
    assert metric.title == "it is there" and metric.bounds == (0.0, 1.0)
    assert metric.better["target"] == "lower" and "retention" not in metric.better
    assert {*parse_metric("q:higher:1:5", "--metric").better.values()} == {"higher"}


def alpha(units: list[list[float]]) -> float:
    """Krippendorff's α by its definition: one less the mean squared difference within over that of all."""
    units = [unit for unit in units if len(unit) > 1]
    values = [value for unit in units for value in unit]
    within = sum(
        sum((a - b) ** 2 for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in units
    ) / len(values)
    overall = sum((a - b) ** 2 for a, b in permutations(values, 2)) / (len(values) * (len(values) - 1))
    return 1 - within / overall


@pytest.mark.parametrize("named", [True, False])
def test_the_agreement_is_krippendorffs_alpha(run: Any, tmp_path: Path, named: bool) -> None:
    plan, evidence, _ = run
    units: list[list[float]] = [[1, 2, 2], [4, 5], [3], [5, 5, 4], [1, 1]]
    ids = list(dict.fromkeys(drawn.id for drawn in pictures_of(plan)))
    rows = [
        f"{id_},{f'r{number}' if named else ''},{value}\n"
        for id_, unit in zip(ids, units, strict=False)
        for number, value in enumerate(unit)
    ]
    file = read(tmp_path, f"{QUALITY}picture,rater,value\n{''.join(rows)}")
    (note,) = joined(plan, evidence, [file]).notes
    assert f"α of 4 pictures with several raters: {alpha(units):.2f} (" in note.text


@pytest.mark.parametrize(
    ("values", "said"), [(["3"], "one each"), (["3", "3"], "not defined, as all ratings are the same")]
)
def test_where_there_is_no_agreement_to_tell_it_is_said(
    run: Any, tmp_path: Path, values: list[str], said: str
) -> None:
    plan, evidence, _ = run
    first = next(pictures_of(plan)).id
    file = read(
        tmp_path, f"{QUALITY}picture,value\n{''.join(f'{first},{value}' + chr(10) for value in values)}"
    )
    assert said in joined(plan, evidence, [file]).notes[-1].text


def test_several_files_are_several_evaluators(run: Any, tmp_path: Path) -> None:
    plan, evidence, _ = run
    file = read(tmp_path, f"{QUALITY}{TITLES}dim,red ball,0,red ball/t0,0,ann,3\n")
    rated = joined(plan, evidence, [file, replace(file, name="again")])
    assert [evaluator.name for evaluator in rated.plan.evaluators] == ["fake", "human", "again"]
    with pytest.raises(BenchError, match="'human' is an evaluator's name"):
        joined(plan, evidence, [file, file])


def test_the_files_are_kept_apart_whatever_they_are_called(tmp_path: Path) -> None:
    file = read(tmp_path, f"{QUALITY}picture,value\nx,1\n")
    names = ["a b", "a_b", "ä b", "plain"]
    kept = keep_ratings(tmp_path / "run", [replace(file, name=name, data=name.encode()) for name in names])
    assert kept["plain"]["file"] == "ratings-plain.csv"
    for name in names:
        assert (tmp_path / "run" / kept[name]["file"]).read_text(encoding="utf-8") == name
