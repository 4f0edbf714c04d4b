"""What a module's code does, apart from how it is laid out: the digest that results are kept under."""

import ast
import hashlib


def syntax_digest(tree: ast.Module) -> str:
    """sha256 of the syntax tree without docstrings, 64 hex digits: comments and layout are not in it.

    The tree loses its docstrings.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_bare_text(statement)] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_bare_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
