"""What a module's code does, apart from layout and words: the digest that results are kept under."""

import ast
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

CARD_WORDS = frozenset({"title", "paper", "formula", "notes", "description", "source"})
"""What a card says to people; a version, settings and presets are no words."""


def syntax_digest(tree: ast.Module) -> str:
    """sha256 of the syntax tree without docstrings and a card's words, 64 hex digits.

    Comments and layout are not in it either, and it is the same for every version of Python that
    has the same syntax. A card's words are the arguments `CARD_WORDS` of what is called `…Card`, of a
    function of the module's own that is called `…card`, and the texts of the module that go nowhere
    else. The tree loses them and its docstrings.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_bare_text(statement)] or [ast.Pass()]
    _leave_words_out(tree)
    return hashlib.sha256("\n".join(_spelt(tree)).encode("utf-8", "surrogatepass")).hexdigest()


def _is_bare_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _leave_words_out(tree: ast.Module) -> None:
    makers = {
        node.name: [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.endswith("card")
    }
    words: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            words += _taken_out(node, makers)
    names = {name for word in words for name in _names(word)} - set(_names(tree))
    tree.body = [statement for statement in tree.body if not _is_text_named(statement, names)] or [ast.Pass()]


def _taken_out(call: ast.Call, makers: Mapping[str, list[str]]) -> Iterator[ast.expr]:
    """The words among a call's arguments; an empty text stands where one had its place in the order."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if not (called.endswith("Card") or called in makers):
        return
    for place, name in enumerate(makers.get(called, ())[: len(call.args)]):
        if name in CARD_WORDS and not any(isinstance(argument, ast.Starred) for argument in call.args):
            yield call.args[place]
            call.args[place] = ast.Constant("")
    yield from (keyword.value for keyword in call.keywords if keyword.arg in CARD_WORDS)
    call.keywords = [keyword for keyword in call.keywords if keyword.arg not in CARD_WORDS]


def _names(tree: ast.AST) -> Iterator[str]:
    """The names that are read."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id


def _is_text_named(statement: ast.stmt, names: set[str]) -> bool:
    if not isinstance(statement, ast.Assign):
        return False
    value = statement.value
    is_text = isinstance(value, ast.JoinedStr) or (
        isinstance(value, ast.Constant) and isinstance(value.value, str)
    )
    return is_text and all(
        isinstance(target, ast.Name) and target.id in names for target in statement.targets
    )


def _spelt(value: Any) -> Iterator[str]:
    """A tree's nodes and what they hold, in order, without what is empty."""
    if isinstance(value, ast.AST):
        yield type(value).__name__
        for field in value._fields:
            content = getattr(value, field, None)
            if content is not None and content != [] or field == "value":
                yield f".{field}"
                yield from _spelt(content)
        yield "/"
    elif isinstance(value, list):
        yield f"[{len(value)}]"
        for item in value:
            yield from _spelt(item)
    else:
        yield repr(value)
