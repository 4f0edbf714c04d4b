"""What the site's pages are made of, without building it."""

import pytest

from website.markdown import code, formula, prose
from website.navigation import completed
from website.repository import DOCS, ROOT, linked, relinked


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("a * b_c | d < e", r"a \* b_c \| d \< e"),
        ("takes `a | b*` and `x_y`", "takes `a | b*` and `x_y`"),
        ("see docs/user-weights.md.", "see [user weights](../user-weights.md)."),
        ("give --method-option a=1", "give `--method-option` a=1"),
        ("two\n  lines", "two lines"),
    ],
)
def test_words_stay_words(text: str, markdown: str) -> None:
    assert prose(text, "methods/sa.md") == markdown


def test_subscripts_of_a_formula_are_set_and_names_are_not() -> None:
    assert formula("min_θ ℓ(x_t) of *_EXPOSED and class_probability", "x.md") == (
        r"min<sub>θ</sub> ℓ(x<sub>t</sub>) of \*\_EXPOSED and class_probability"
    )


def test_code_may_hold_a_backtick() -> None:
    assert code("a`b") == "``a`b``" and code("") == ""


def test_the_menu_has_what_it_lists_a_folders_pages_and_what_nobody_listed() -> None:
    nav = [{"Start": ["index.md"]}, {"Methods": "methods/index.md"}]
    made = ["methods/index.md", "methods/sa.md", "methods/uce.md"]
    assert completed(nav, made, ["index.md", "new.md"]) == [
        {"Start": ["index.md"]},
        {"Methods": made},
        {"More": ["new.md"]},
    ]
    assert completed(nav, made, ["index.md"])[-1] == {"Methods": made}


def test_links_to_the_repositorys_files_stay_links_wherever_the_page_lies() -> None:
    text = "[a](../results/README.md) [b](store.md#x) [c](https://example.org/) [d](#here) [e](../../out.md)"
    assert relinked(text, DOCS / "gate.md") == (
        "[a](results/README.md) [b](store.md#x) [c](https://example.org/) [d](#here) [e](../../out.md)"
    )
    page = ROOT / "results" / "published" / "README.md"
    assert relinked("[a](../../docs/store.md)", page) == "[a](../../store.md)"


def test_a_linked_file_comes_along_with_what_it_links_to_and_a_missing_one_does_not() -> None:
    found = linked([DOCS / "store.md"])
    assert found["results/reliability/kill.md"] == ROOT / "results" / "reliability" / "kill.md"
    index = linked([DOCS / "index.md"])
    assert {"results/README.md", "results/microworld/README.md"} <= set(index), "by way of the first one"
    assert all(path.is_file() and not path.is_relative_to(DOCS) for path in index.values())
