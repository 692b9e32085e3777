"""The filter language: which runs are meant, as a safe part of Python's expressions.

    config.lr < 1e-2 and (state == "failed" or "seed" in tags)

There are `and`, `or`, `not`, comparisons (also chained), `in`, numbers, texts, True, False, None, lists and tuples of these, and
names. Nothing is called or computed, and nothing looked up but the names: the text is parsed here, into functions of this module,
and never reaches Python's own `eval` or `compile`. What an expression says is what Python would say, except that a comparison is
false where a name is missing or where two values cannot be compared.

A name is a path. `config.lr` is ("config", "lr"); what is not an identifier stands in brackets, as in `config["a b"].c` or
`config.layers[0]`. A summary is ("summary", KEY, COLUMN, STATISTIC), written `train.loss.last` or
`summary["train/loss"].loss.last`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from streamvis.errors import FilterError

__all__ = ["FIELDS", "MISSING", "STATISTICS", "Filter", "Path", "format_path", "parse_path"]

FIELDS = ("app", "archived", "created", "ended", "id", "name", "note", "state", "step", "tags", "updated")
"""The names of one word."""
STATISTICS = ("last", "last_step", "min", "min_step", "max", "max_step", "count")
"""What is known of each column of numbers."""
MISSING = type("Missing", (), {"__repr__": lambda self: "MISSING", "__bool__": lambda self: False})()
"""What a path is resolved to where a run has nothing of that name."""

_MOST_CHARS = 10_000
_MOST_NESTED = 50
_WORDS = ("and", "or", "not", "in", "True", "False", "None", "is", "if", "else", "lambda", "for")
_CONSTANTS = {"True": True, "False": False, "None": None}
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<word>[^\W\d]\w*)
    | (?P<sign><=|>=|==|!=|[<>()\[\],.+-])
    | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t"}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "in": lambda one, other: one in other,
    "not in": lambda one, other: one not in other,
}

Path = tuple[str, ...]
"""The parts of a name."""
Resolve = Callable[[Path], Any]
"""Gives the value of a name, or MISSING."""


@dataclass(frozen=True, slots=True)
class Filter:
    """An expression over a run. `names` are the paths that it asks for."""

    text: str
    names: frozenset[Path]
    _value: Callable[[Resolve], Any]

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Read an expression. Raises FilterError, which names the place."""
        parser = _Parser(text)
        value = parser.whole()
        return cls(text, frozenset(parser.names), value)

    def matches(self, names: Resolve) -> bool:
        """Whether the expression is true of the run whose names `names` resolves."""
        return bool(self._value(names))


def parse_path(text: str) -> Path:
    """Read a name, as a filter holds it. Raises FilterError."""
    return _Parser(text).only_path()


def format_path(path: Path) -> str:
    """The name as it is written in a filter."""
    head, *rest = path
    if head == "summary" and rest[0].isidentifier() and rest[0] not in (*FIELDS, *_WORDS, "config", "summary"):
        head, *rest = rest
    return head + "".join(f".{part}" if part.isidentifier() else f"[{_quoted(part)}]" for part in rest)


def _quoted(text: str) -> str:
    escaped = (f"\\{c}" if c in '\\"' else {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(c, c) for c in text)
    return f'"{"".join(escaped)}"'


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int

    @property
    def is_name(self) -> bool:
        return self.kind == "word" and self.text not in _WORDS


class _Parser:
    """Recursive descent, an alternative a method. Each gives a function from the names to the value."""

    def __init__(self, text: str) -> None:
        if len(text) > _MOST_CHARS:
            raise FilterError(f"The filter is longer than {_MOST_CHARS:,} characters.", position=_MOST_CHARS)
        self._tokens = list(_tokens(text))
        self._at = self._depth = 0
        self.names: set[Path] = set()

    def whole(self) -> Callable[[Resolve], Any]:
        if self._next.kind == "end":
            raise self._fault("The filter is empty.")
        value = self._or()
        if self._next.kind != "end":
            raise self._fault(f"Expected `and`, `or`, a comparison or the end, not {self._shown}.")
        return value

    def only_path(self) -> Path:
        if not self._next.is_name:
            raise self._fault(f"Expected a name such as config.lr, not {self._shown}.")
        path = self._path()
        if self._next.kind != "end":
            raise self._fault(f"Expected the end of the name, not {self._shown}.")
        return path

    # Tokens

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    @property
    def _shown(self) -> str:
        return "the end" if self._next.kind == "end" else self._next.text

    def _take(self, *texts: str) -> str:
        """The next token's text where it is one of these, which is taken then; else ""."""
        if self._next.kind in ("word", "sign") and self._next.text in texts:
            self._at += 1
            return self._tokens[self._at - 1].text
        return ""

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._fault(f"Expected `{text}`, not {self._shown}.")

    def _fault(self, message: str, first: _Token | None = None) -> FilterError:
        first = first or self._next
        last = self._tokens[self._at - 1] if self._at and first is not self._next else first
        return FilterError(message, position=first.position, length=max(1, last.position + len(last.text) - first.position))

    # Expressions

    def _or(self) -> Callable[[Resolve], Any]:
        parts = [self._and()]
        while self._take("or"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else lambda names: _first(parts, names, stop=True)

    def _and(self) -> Callable[[Resolve], Any]:
        parts = [self._not()]
        while self._take("and"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else lambda names: _first(parts, names, stop=False)

    def _not(self) -> Callable[[Resolve], Any]:
        if not self._take("not"):
            return self._comparison()
        with self:
            part = self._not()
        return lambda names: not part(names)

    def _comparison(self) -> Callable[[Resolve], Any]:
        operands, signs = [self._operand()], []
        while sign := self._comparing():
            signs.append(_COMPARE[sign])
            operands.append(self._operand())
        return _compared(operands, signs) if signs else operands[0]

    def _comparing(self) -> str:
        if self._next.text == "not" and self._next.kind == "word" and self._tokens[self._at + 1].text == "in":
            self._at += 2
            return "not in"
        return self._take("<", "<=", ">", ">=", "==", "!=", "in")

    def _operand(self) -> Callable[[Resolve], Any]:
        if self._next.text == "(" and self._next.kind == "sign":
            return self._in_parentheses()
        if self._next.is_name:
            path = self._path()
            self.names.add(path)
            return lambda names: names(path)
        constant = self._constant()
        return lambda names: constant

    def _in_parentheses(self) -> Callable[[Resolve], Any]:
        """An expression, or a tuple."""
        first = self._next
        self._expect("(")
        if self._take(")"):
            return lambda names: ()
        with self:
            is_constant, value = self._is_at_constant(), self._or()
        if self._take(")"):
            return value
        if self._next.text != ",":
            raise self._fault(f"Expected `)`, not {self._shown}.")
        if not is_constant:
            raise self._fault("A tuple holds numbers and texts only.", first)
        self._at = self._tokens.index(first)
        constant = self._constant()
        return lambda names: constant

    def _is_at_constant(self) -> bool:
        return not self._next.is_name and self._next.text != "not"

    def _constant(self) -> Any:
        token = self._next
        if opened := self._take("(", "["):
            with self:
                return self._sequence(")" if opened == "(" else "]")
        if sign := self._take("-", "+"):
            if self._next.kind != "number":
                raise self._fault(f"Expected a number, not {self._shown}.")
            number = self._constant()
            return -number if sign == "-" else number
        self._at += token.kind != "end"
        if token.kind == "number":
            return _number(token)
        if token.kind == "text":
            return _text(token)
        if token.text in _CONSTANTS and token.kind == "word":
            return _CONSTANTS[token.text]
        self._at -= token.kind != "end"
        raise self._fault(f"Expected a name, a number or a text in quotes, not {self._shown}.")

    def _sequence(self, closing: str) -> Sequence[Any]:
        items: list[Any] = []
        is_tuple = closing == ")"
        while not self._take(closing):
            if self._next.is_name:
                raise self._fault("Lists and tuples hold numbers and texts only. Put text in quotes.")
            items.append(self._constant())
            if self._take(","):
                continue
            self._expect(closing)
            is_tuple &= len(items) > 1
            break
        return tuple(items) if is_tuple else items[0] if closing == ")" else items

    # Names

    def _path(self) -> Path:
        first = self._next
        parts = [first.text]
        self._at += 1
        while opened := self._take(".", "["):
            part = self._next
            if opened == "." and part.kind == "word":
                parts.append(part.text)
            elif opened == "[" and part.kind == "text":
                parts.append(_text(part))
            elif opened == "[" and part.kind == "number" and part.text.isdecimal():
                parts.append(str(_whole(part)))
            else:
                what = "a word" if opened == "." else "a text in quotes or a whole number"
                raise self._fault(f"Expected {what} after `{opened}`, not {self._shown}.")
            self._at += 1
            if opened == "[":
                self._expect("]")
        if self._next.text == "(":
            raise self._fault("A filter calls nothing.")
        return self._checked(parts, first)

    def _checked(self, parts: Sequence[str], first: _Token) -> Path:
        head, *rest = parts
        if head == "config" or (head in FIELDS and not rest):
            return tuple(parts)
        summary = rest if head == "summary" else parts
        if len(summary) == 3 and summary[2] in STATISTICS and head not in FIELDS:
            return ("summary", *summary)
        if head in FIELDS:
            raise self._fault(f"`{head}` has no parts.", first)
        if len(summary) == 1 and head != "summary":
            known = ", ".join(FIELDS)
            raise self._fault(
                f"There is no name `{head}`. Names are {known}, config.NAME and KEY.COLUMN.last. Put text in quotes.", first
            )
        raise self._fault(f"Write a summary as KEY.COLUMN.STATISTIC, where the last is one of {', '.join(STATISTICS)}.", first)

    def __enter__(self) -> None:
        self._depth += 1
        if self._depth > _MOST_NESTED:
            raise self._fault(f"The filter is nested deeper than {_MOST_NESTED} levels.")

    def __exit__(self, *error: object) -> None:
        self._depth -= 1


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while True:
        found = _TOKEN.match(text, at)
        if found is None:
            position = at + len(text[at:]) - len(text[at:].lstrip())
            raise _unreadable(text, position)
        kind = found.lastgroup or "end"
        yield _Token(kind, found[kind], found.start(kind))
        if kind == "end":
            return
        at = found.end()
        if kind == "number" and text[at : at + 1].isidentifier():
            begin = found.start(kind)
            raise FilterError("A name does not begin with a digit.", position=begin, length=at + 1 - begin)


def _unreadable(text: str, position: int) -> FilterError:
    sign = text[position]
    if sign in "\"'":
        return FilterError("This text has no closing quote.", position=position, length=len(text) - position)
    if sign == "=":
        return FilterError("To compare, write == instead of =.", position=position)
    if text[position : position + 2] in ("&&", "||"):
        return FilterError("Write `and` for &&, and `or` for ||.", position=position, length=2)
    return FilterError(f"`{sign}` has no meaning here.", position=position)


def _number(token: _Token) -> int | float:
    if not token.text.isdecimal():
        return float(token.text)
    if len(token.text) > 1 and token.text[0] == "0" and token.text.strip("0"):
        raise FilterError("A whole number does not begin with 0.", position=token.position, length=len(token.text))
    return _whole(token)


def _whole(token: _Token) -> int:
    if len(token.text) > 400:
        raise FilterError("This number is too long.", position=token.position, length=len(token.text))
    return int(token.text)


def _text(token: _Token) -> str:
    def unescaped(found: re.Match[str]) -> str:
        code = found[1] or found[2]
        if code:
            return chr(int(code, 16))
        if found[3] not in _ESCAPES:
            raise FilterError(f"There is no escape \\{found[3]}.", position=token.position + 1 + found.start(), length=2)
        return _ESCAPES[found[3]]

    text = _ESCAPE.sub(unescaped, token.text[1:-1])
    try:
        text.encode()
    except UnicodeEncodeError:
        told = "This text has half of a surrogate pair, which no name or text can have."
        raise FilterError(told, position=token.position, length=len(token.text)) from None
    return text


def _first(parts: Collection[Callable[[Resolve], Any]], names: Resolve, *, stop: bool) -> Any:
    """The first value whose truth is `stop`, else the last."""
    value: Any = None
    for part in parts:
        value = part(names)
        if bool(value) is stop:
            return value
    return value


def _compared(
    operands: Sequence[Callable[[Resolve], Any]], signs: Sequence[Callable[[Any, Any], Any]]
) -> Callable[[Resolve], bool]:
    def value(names: Resolve) -> bool:
        one = operands[0](names)
        for sign, operand in zip(signs, operands[1:], strict=True):
            other = operand(names)
            if one is MISSING or other is MISSING:
                return False
            try:
                if not sign(one, other):
                    return False
            except TypeError:
                return False
            one = other
        return True

    return value
