"""The filter language against Python's own `eval`, over expressions and runs that hypothesis thinks of."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamvis import filters
from streamvis.errors import FilterError
from streamvis.filters import MISSING, Filter, format_path, parse_path

NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, -1.5, 1e-3, 2.0, float("nan"), float("inf"), 10**30]))
TEXTS = st.sampled_from(["", "a", "ab", "failed", "seed", "7", 'it"s', "it's", "b\\c", "ä\n"])
CONSTANTS = st.one_of(st.booleans(), st.none(), NUMBERS, TEXTS)
VALUES = st.recursive(CONSTANTS, lambda part: st.one_of(st.lists(part, max_size=3), st.dictionaries(TEXTS, part, max_size=2)))
NAMES = {
    "config.lr": ("config", "lr"),
    "config.a.b": ("config", "a", "b"),
    'config["a b"].c': ("config", "a b", "c"),
    "config": ("config",),
    "state": ("state",),
    "tags": ("tags",),
    "step": ("step",),
    "train.loss.last": ("summary", "train", "loss", "last"),
    'summary["train/loss"]["top-1"].min_step': ("summary", "train/loss", "top-1", "min_step"),
}


class Careful:
    """A value of a run for Python's `eval`, in which a comparison with what is missing or does not compare is false."""

    def __init__(self, value):
        self.value = value

    def __bool__(self):
        return self.value is not MISSING and bool(self.value)

    def compared(self, other, compare):
        other = other.value if isinstance(other, Careful) else other
        if MISSING in (self.value if self.value is MISSING else 0, other if other is MISSING else 0):
            return False
        try:
            return compare(self.value, other)
        except TypeError:
            return False


COMPARE = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


class Comparisons(ast.NodeTransformer):
    """Makes of each comparison a call, so that it is made with care; all else stays Python's."""

    def visit_Compare(self, node):
        self.generic_visit(node)
        signs = [ast.Constant(list(COMPARE).index(type(op))) for op in node.ops]
        operands = [ast.Lambda(ast.arguments([], [], None, [], [], None, []), part) for part in (node.left, *node.comparators)]
        call = ast.Call(ast.Name("compare", ast.Load()), [ast.List(signs, ast.Load()), ast.List(operands, ast.Load())], [])
        return ast.fix_missing_locations(ast.copy_location(call, node))


def compare(signs, operands):
    one = Careful(operands[0]())
    one = one.value if isinstance(one.value, Careful) else one
    for sign, operand in zip(signs, operands[1:], strict=True):
        other = operand()
        if not one.compared(other, list(COMPARE.values())[sign]):
            return False
        one = other if isinstance(other, Careful) else Careful(other)
    return True


def by_python(text, run):
    """What Python makes of the expression, with each name of ours in place of a name of Python's."""
    values = {"compare": compare}
    for i, name in enumerate(sorted(NAMES, key=len, reverse=True)):
        text = re.sub(rf"(?<![\w.\"']){re.escape(name)}(?![\w.\[\"'])", f"name_{i}", text)
        values[f"name_{i}"] = Careful(run.get(NAMES[name], MISSING))
    tree = ast.fix_missing_locations(Comparisons().visit(ast.parse(text, mode="eval")))
    value = eval(compile(tree, "filter", "eval"), {"__builtins__": {}, **values})
    return bool(value)


def written(constant):
    if isinstance(constant, float):
        return "1e999" if constant == float("inf") else "1e999" if constant != constant else repr(constant)
    return repr(constant)


LISTS = st.lists(CONSTANTS.map(written), max_size=3).flatmap(
    lambda parts: st.sampled_from([f"[{', '.join(parts)}]", f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"])
)
OPERANDS = st.one_of(st.sampled_from(sorted(NAMES)), CONSTANTS.map(written), LISTS)
SIGNS = st.sampled_from(["<", "<=", ">", ">=", "==", "!=", "in", "not in"])


def grown(part):
    joined = st.tuples(part, st.sampled_from(["and", "or"]), part).map(" ".join)
    compared = st.tuples(st.one_of(OPERANDS, part.map("({})".format)), SIGNS, OPERANDS).map(" ".join)
    chained = st.tuples(compared, SIGNS, OPERANDS).map(" ".join)
    return st.one_of(joined, compared, chained, part.map("not {}".format), part.map("({})".format))


EXPRESSIONS = st.recursive(st.one_of(OPERANDS, st.tuples(OPERANDS, SIGNS, OPERANDS).map(" ".join)), grown, max_leaves=8)
RUNS = st.dictionaries(st.sampled_from(sorted(NAMES.values())), VALUES)


@given(EXPRESSIONS, RUNS)
@example("not config.lr < 1 or step", {})
@example("-1 < step < 3 != 2", {("step",): 1})
@example("not step == 1 and not not tags", {("step",): 1, ("tags",): ["a"]})
@example("1 < step == True", {("step",): 2})
def test_a_filter_says_of_a_run_what_python_says(text, run):
    read = Filter.parse(text)
    assert read.matches(lambda path: run.get(path, MISSING)) == by_python(text, run)
    assert read.names == {path for name, path in NAMES.items() if path in read.names}


PIECES = [*NAMES, *"()[],.<", "not", "in", "1", '"a"', "and", "is", "lambda", "f(", "__class__"]


@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join)))
def test_any_text_is_read_or_refused_with_a_place_in_it(text):
    try:
        read = Filter.parse(text)
    except FilterError as error:
        assert 0 <= error.position <= len(text) and error.length >= 1 and str(error).endswith(".")
        assert error.position + error.length <= len(text) + 1
    else:
        asked = []
        read.matches(lambda path: asked.append(path) or MISSING)
        assert set(asked) <= read.names and all(path[0] in (*filters.FIELDS, "config", "summary") for path in read.names)


CALLS = [
    "f()", "config()", "config.f()", "config['f']()", "().__class__", "(1).real", "[x for x in tags]", "lambda: 1", "name[0]",
    "f'{1}'", "1 + 1", "2 ** 9", "state if 1 else 2", "(x := 1)", "{}", "{1}", "tags[0]", "*tags", "await f", "`ls`", "not f()",
    "__import__('os')", "config.__class__()", "state; step", "[config.lr]", "(config.lr, 1)",
]  # fmt: skip


@pytest.mark.parametrize("text", CALLS)
def test_what_calls_or_computes_is_no_filter(text):
    with pytest.raises(FilterError):
        Filter.parse(text)


def test_the_module_neither_evaluates_nor_compiles_nor_looks_up_attributes_by_name():
    calls = {node.func.id for node in ast.walk(ast.parse(Path(filters.__file__).read_text()))
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
    assert not calls & {"eval", "exec", "compile", "getattr", "setattr", "globals", "vars", "__import__"}


def test_a_dunder_in_a_config_is_a_name_like_any_other():
    asked = []
    assert not Filter.parse("config.__class__ == 1").matches(lambda path: asked.append(path) or MISSING)
    assert asked == [("config", "__class__")]


@pytest.mark.parametrize(
    ("text", "position", "length", "told"),
    [
        ("", 0, 1, "empty"),
        ("config.lr = 3", 10, 1, "=="),
        ("state == failed", 9, 6, "quotes"),
        ("state == 'failed", 9, 7, "closing quote"),
        ("step < 3 step", 9, 4, "Expected"),
        ("(step < 3", 9, 1, "Expected `)`"),
        ("train.loss", 0, 10, "KEY.COLUMN.STATISTIC"),
        ("step < 1a", 7, 2, "digit"),
        ("step && note", 5, 2, "`and`"),
        ("step < 3 and", 12, 1, "the end"),
        ("resnet 0.003", 0, 6, "no name `resnet`"),
        (f"config.layers[{'7' * 6000}].size == 1", 14, 6000, "too long"),
        (r'name == "a\udfff"', 8, 9, "surrogate"),
        (r'summary["train"]["\ud83d\ude00"].max > 1', 17, 14, "surrogate"),
    ],
)
def test_a_fault_is_told_with_its_place(text, position, length, told):
    with pytest.raises(FilterError, match=re.escape(told)) as caught:
        Filter.parse(text)
    assert (caught.value.position, caught.value.length) == (position, length)


def test_a_filter_nested_without_end_is_refused():
    for text in ("(" * 5000 + "1" + ")" * 5000, "not " * 2500 + "1", "[" * 5000, "step < 1 or " * 5000):
        with pytest.raises(FilterError):
            Filter.parse(text)


@given(st.lists(st.text(max_size=5), min_size=1, max_size=3), st.sampled_from(["config", "summary"]))
def test_a_written_path_is_read_back(parts, head):
    path = (head, *parts) if head == "config" else (head, "k", "c.d", "max") if len(parts) == 1 else (head, *parts[:2], "last")
    try:
        assert parse_path(format_path(path)) == path
    except FilterError:
        # A control character, or what is not one line, stands in no text of the language.
        assert any(not part.isprintable() for part in parts)
