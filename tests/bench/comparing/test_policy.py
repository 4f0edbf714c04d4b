"""A policy file: what is wrong with one is one line that names file and place."""

import re
from pathlib import Path

import pytest

from erasure_bench.bench.comparing.finished import FinishedRun
from erasure_bench.bench.comparing.gate import hold
from erasure_bench.bench.comparing.policy import FORMAT, Policy, first_policy, read_policy
from erasure_bench.errors import BenchError

RULE = "{name: gone, role: target, metric: brightness, allowed_worsening: 0.1}"


def written(path: Path, text: str) -> Path:
    file = path / "gate.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_policy_is_read(tmp_path: Path) -> None:
    found = read_policy(written(tmp_path, f"format: {FORMAT}\nrules:\n  - {RULE}\n"))
    (rule,) = found.rules
    assert (rule.tier, rule.scope, rule.level, rule.demand) == (
        "critical",
        "overall",
        None,
        "worse by at most 0.1",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty (bench gate init RUN writes one)"),
        ("- 1", ":1: holds no keys"),
        ("a: [1\nb: 2", ":2: is no YAML"),
        ("format: erasure-bench gate 9\nrules: []", ":1: format 'erasure-bench gate 9'; this version reads"),
        (f"format: {FORMAT}\nrules: []", "rules: "),
        (
            f"format: {FORMAT}\nrules: [{{name: a, role: targets, metric: m, limit: '<= 1'}}]",
            ":2: rules[0].role: should be 'target', ",
        ),
        (f"format: {FORMAT}\nrules: [{{name: a, role: target, metric: m}}]", "either allowed_worsening or"),
        (f"format: {FORMAT}\nrules: [{{name: a, role: target, metric: m, limit: '< 1'}}]", "is no limit"),
        (f"format: {FORMAT}\nrules: [{RULE}, {RULE}]", "two rules are called 'gone'"),
        (f"format: {FORMAT}\nfoo: 1\nrules: [{RULE}]", ":2: foo: no such key: valid: format, "),
        (
            f"format: {FORMAT}\nrules: [{RULE[:-1]}, allowed_drop: 1}}]",
            ":2: rules[0].allowed_drop: no such key",
        ),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(BenchError) as raised:
        read_policy(file)
    assert said in str(raised.value) and str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="bench gate init RUN writes one"):
        read_policy(tmp_path / "none.yaml")


def test_the_first_policy_of_a_run_holds_that_run(tmp_path: Path, before: FinishedRun) -> None:
    text = first_policy(before)
    policy = read_policy(written(tmp_path, text))
    assert policy.methods == ("dim",)
    assert {rule.role for rule in policy.rules} == {"target", "anchor", "retention"}
    assert hold(before, before, policy).verdict == "PASS"


def test_a_policy_in_code_is_checked_as_a_file_is() -> None:
    with pytest.raises(ValueError, match="limit"):
        Policy.model_validate({"format": FORMAT, "rules": [{"name": "a", "role": "target", "metric": "m"}]})


def test_the_policy_of_the_document_is_one(tmp_path: Path) -> None:
    document = Path(__file__).resolve().parents[3] / "docs" / "gate.md"
    (text,) = re.findall(
        r"^```yaml\n(.*?)^```$", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    policy = read_policy(written(tmp_path, text))
    assert [rule.demand for rule in policy.rules] == [
        "worse by at most 0.05",
        "<= 0.1",
        "worse by at most 0.1",
    ]
