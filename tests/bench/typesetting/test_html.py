"""One page that shows names and obeys none of them."""

from dataclasses import replace
from html.parser import HTMLParser

from erasure_bench.bench.reporting.board import Board, Cell
from erasure_bench.bench.typesetting.arranged import arranged
from erasure_bench.bench.typesetting.html import digest, html, more
from erasure_bench.bench.typesetting.layout import layout

HOSTILE = "\"><img src=x onerror=alert(1)>'</td><style>*{display:none}</style>{{7*7}}"


class Page(HTMLParser):
    """Its tags with their attributes, and the text outside of style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.style = ""
        self._in = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_data(self, data: str) -> None:
        if self._in == "style":
            self.style += data
        else:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._in = ""


def page_of(board: Board) -> Page:
    return Page(html(arranged(board, layout("leaderboard"), board.concepts)))


def hostile(board: Board) -> Board:
    rows = tuple(
        {**row, "title": HOSTILE, "reason": HOSTILE, "method": row["method"].replace("weak", HOSTILE)}
        for row in board.rows
    )
    methods = tuple(name.replace("weak", HOSTILE) for name in board.methods)
    return replace(board, rows=rows, methods=methods, title=HOSTILE, notes=(HOSTILE,), failures=(HOSTILE,))


def test_hostile_names_are_text_wherever_they_stand(board: Board) -> None:
    page = page_of(hostile(board))
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "img", "iframe", "link", "object", "form", "a", "svg"}
    assert sum(tag == "style" for tag, _ in page.tags) == 1
    allowed = {"class", "title", "scope", "colspan", "tabindex", "role", "aria-label", "lang", "charset"}
    allowed |= {"content", "name", "http-equiv"}
    assert {name for _, attributes in page.tags for name in attributes} <= allowed
    assert HOSTILE in page.text, "no template in it is filled in either"
    assert "<script>alert(1)</script>" in page.text


def test_the_policy_allows_the_pages_own_style_and_nothing_else(board: Board) -> None:
    page = page_of(board)
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.split("; ")[0] == "default-src 'none'"
    assert f"style-src '{digest(page.style)}'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert "url(" not in page.style and "@import" not in page.style


def test_marks_verdicts_and_notes_are_there(board: Board) -> None:
    text = html(arranged(board, layout("leaderboard")))
    assert "<strong>" in text and "<u>" in text and "◆" in text
    for said in ("undecided", "95% interval", "detectable", "at least 50% gone"):
        assert said in text
    page = Page(text)
    assert all(note[:30] in page.text for note in board.notes)
    titles = [a["title"] for tag, a in page.tags if tag == "td" and "title" in a]
    assert any(title and title.startswith("24 prompts, 24 pictures") for title in titles)


def test_a_p_value_that_is_hardly_any_is_not_nought() -> None:
    row = {"best_p": 0.00004, "prompts": 96, "images": 96}
    assert more(Cell("0.1", row=row)) == "96 prompts, 96 pictures; p against the best <0.001"
