"""Inputs that are almost good: a value of a JSON document replaced, lines of a text torn, bytes changed."""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

HOSTILE_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, 2**31, 2**63, -(2**63), 2**64, 10**400, 1e308, -0.0),
    *(float("nan"), float("inf"), float("-inf"), "", " ", "\0", "\ud800", "é" * 40, "\u202eabc", "a" * 5000),
    *(
        "../../etc/passwd",
        "/",
        "C:\\x",
        "~nobody",
        "$HOME",
        "{}",
        "{0}",
        "%s",
        "=1+1",
        "<script>",
        "\x1b[31m",
    ),
    *([], {}, [[]], [{}], [None], {"": None}, {"a": {"b": []}}, ["a"] * 50, "nan", "1e999", "0x10", "١٢"),
)
HOSTILE_TEXT: tuple[str, ...] = (
    *("\n", "\r", "\r\n", "\t", ",", ";", '"', "'", "\0", "\x85", "\u2028", "\ufeff", "\x1b[0m", "\u202e"),
    *(
        "- ",
        ": ",
        "? ",
        "{",
        "}",
        "[",
        "]",
        "&a ",
        "*a",
        "!!",
        "!!binary ",
        "!!set ",
        "!!timestamp ",
        "<<: *a",
    ),
    *("!!python/object:os.system ", "|\n", ">\n", "---\n", "...\n", "%YAML 9.9\n", "# ", "~", "null", "yes"),
    *(".nan", ".inf", "-.inf", "0b1", "0o7", "0x" + "f" * 5000, "9" * 5000, "1:" * 50 + "1", "2020-13-45"),
    *("2020-01-01", "1e999", "-0", "--", "-", "=", "@", "+", "[" * 3000, "{a: " * 50, "a" * 5000, "," * 300),
    *("(", ")", "../", "~", "$HOME", "{}", "{a}", "%", "\\", "/", "NaN", "Infinity", "\\ud800", "é", "日本"),
)
Chance = Random


def mutated(data: bytes, chance: Chance) -> bytes:
    """The bytes with one to four changes; where they are JSON most changes keep them so."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        tree = _tree(data)
        if tree is not None and chance.random() < 0.8:
            data = json.dumps(_changed_tree(tree, chance)).encode()
        elif chance.random() < 0.6:
            data = _changed_text(data.decode("utf-8", "surrogateescape"), chance).encode(
                "utf-8", "surrogateescape"
            )
        else:
            data = _changed_bytes(data, chance)
    return data


def _tree(data: bytes) -> Any:
    if data[:1] not in (b"{", b"["):
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _changed_tree(tree: Any, chance: Chance) -> Any:
    """One place of the document, found by a random walk, is replaced, removed, doubled or renamed."""
    if not isinstance(tree, dict | list) or not tree or chance.random() < 0.12:
        return _replaced(tree, chance)
    if isinstance(tree, list):
        place = chance.randrange(len(tree))
        match chance.randrange(8):
            case 0:
                return tree[:place] + tree[place + 1 :]
            case 1:
                return [*tree, tree[place]]
            case _:
                return [*tree[:place], _changed_tree(tree[place], chance), *tree[place + 1 :]]
    key = chance.choice(list(tree))
    match chance.randrange(10):
        case 0:
            return {name: value for name, value in tree.items() if name != key}
        case 1:
            name = str(chance.choice(HOSTILE_TEXT))
            return {name if each == key else each: value for each, value in tree.items()}
        case 2:
            return {**tree, str(chance.choice(HOSTILE_TEXT)): tree[key]}
        case _:
            return {**tree, key: _changed_tree(tree[key], chance)}


def _replaced(value: Any, chance: Chance) -> Any:
    match chance.randrange(6):
        case 0:
            return [value]
        case 1:
            return {"a": value}
        case 2 if isinstance(value, str):
            return _changed_text(value, chance)
        case _:
            found = chance.choice(HOSTILE_VALUES)
            return "9" * 400 if isinstance(found, int) and abs(found) > 10**300 else found


def _changed_text(text: str, chance: Chance) -> str:
    at = chance.randint(0, len(text))
    lines = text.split("\n")
    line = chance.randrange(len(lines))
    match chance.randrange(7):
        case 0:
            return text[:at] + chance.choice(HOSTILE_TEXT) + text[at:]
        case 1:
            return text[:at] + text[chance.randint(at, len(text)) :]
        case 2:
            return "\n".join(lines[:line] + lines[line + 1 :])
        case 3:
            return "\n".join(lines[: line + 1] + lines[line:])
        case 4:
            other = chance.randrange(len(lines))
            lines[line], lines[other] = lines[other], lines[line]
            return "\n".join(lines)
        case 5:
            words = lines[line].partition(chance.choice((": ", ",", "=", " ")))
            lines[line] = f"{words[0]}{words[1]}{chance.choice(HOSTILE_TEXT)}"
            return "\n".join(lines)
        case _:
            return text[:at] + text[at : at + 40] * chance.choice((2, 30)) + text[at:]


def _changed_bytes(data: bytes, chance: Chance) -> bytes:
    changes: Sequence[Callable[[bytearray], None]] = (
        lambda held: _set(held, chance, chance.randrange(256)),
        lambda held: _set(held, chance, chance.choice((0, 1, 0x7F, 0x80, 0xFF))),
        lambda held: _number(held, chance),
        lambda held: _cut(held, chance),
        lambda held: held.extend(held[chance.randint(0, len(held)) :][:64]),
    )
    held = bytearray(data)
    chance.choice(changes)(held)
    return bytes(held)


def _set(held: bytearray, chance: Chance, value: int) -> None:
    if held:
        held[chance.randrange(len(held))] = value


def _number(held: bytearray, chance: Chance) -> None:
    """A length or an offset of another size, in either order of bytes."""
    width = chance.choice((2, 4, 8))
    if len(held) >= width:
        at = chance.randint(0, len(held) - width)
        value = chance.choice(
            (0, 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), 2 ** (8 * width - 1) - 1, 4096)
        )
        held[at : at + width] = value.to_bytes(width, chance.choice(("little", "big")))


def _cut(held: bytearray, chance: Chance) -> None:
    first, last = sorted(chance.randint(0, len(held)) for _ in range(2))
    del held[first:last]
