"""What a config may hold: everything, as its fields or as a text, and the same in every process."""

import argparse
import array
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import json
import logging
import subprocess
import sys
import types
import uuid
from pathlib import Path

import numpy as np
import pydantic
import pytest

from streamvis.client.encoding import encode_begin
from streamvis.client.outbox import Begin
from streamvis.client.values.describing import described
from streamvis.errors import InvalidData


class Phase(enum.Enum):
    WARMUP = enum.auto()
    MAIN = "the rest"


class Level(enum.IntEnum):
    HIGH = 3


class Flags(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Optimizer:
    lr: float
    betas: tuple[float, float] = (0.9, 0.99)
    phase: Phase = Phase.WARMUP


class Sizes(collections.namedtuple("Sizes", "rows columns")):
    pass


class Model(pydantic.BaseModel):
    width: int = 4
    optimizer: Optimizer = Optimizer(0.5)
    key: pydantic.SecretStr = pydantic.SecretStr("hidden")


class Odd:
    """Nothing of it can be read."""

    @property
    def __dict__(self):
        raise RuntimeError("no fields")

    def __repr__(self):
        raise RuntimeError("no text")


class Lazy(collections.abc.Mapping):
    """One of its entries is missing when it is asked for."""

    def __iter__(self):
        return iter(["there", "missing"])

    def __len__(self):
        return 2

    def __getitem__(self, name):
        return {"there": 1}[name]


def work(batch_size=1):
    pass


OPTIMIZER = {"lr": 0.1, "betas": [0.9, 0.99], "phase": "WARMUP"}
PARTS = {
    "path": (Path("/data/train"), "/data/train"),
    "path with a byte that is no text": (Path("/data/\udcff"), "/data/\\udcff"),
    "enum": (Phase.MAIN, "MAIN"),
    "enum of numbers": (Level.HIGH, 3),
    "flags": (Flags.A | Flags.B, "A|B"),
    "dataclass": (Optimizer(0.1), OPTIMIZER),
    "namespace": (argparse.Namespace(lr=0.1, of=[Optimizer(0.1)]), {"lr": 0.1, "of": [OPTIMIZER]}),
    "simple namespace": (types.SimpleNamespace(a=types.SimpleNamespace(b=1)), {"a": {"b": 1}}),
    "named tuple": (Sizes(2, 3), {"rows": 2, "columns": 3}),
    "model": (Model(), {"width": 4, "optimizer": {**OPTIMIZER, "lr": 0.5}, "key": "**********"}),
    "mapping that is no dict": (types.MappingProxyType({"a": 1}), {"a": 1}),
    "missing entry": (Lazy(), {"there": 1, "missing": "(KeyError)"}),
    "set": ({"b", "a", 3}, ["a", "b", 3]),
    "frozenset": (frozenset([2, 1]), [1, 2]),
    "tuple": ((1, ("x", None)), [1, ["x", None]]),
    "range": (range(3), [0, 1, 2]),
    "deque": (collections.deque([1, 2]), [1, 2]),
    "numbers as names": ({1: "a", 0.5: "b", None: "c", False: "d"}, {"1": "a", "0.5": "b", "None": "c", "False": "d"}),
    "a number beside its text as names": ({"1": "a", 1: "b"}, {"1": "a", "1 (int)": "b"}),
    "tuples and enums as names": ({(1, 2): 0, Phase.MAIN: 1}, {"(1, 2)": 0, "MAIN": 1}),
    "class of NumPy": (np.float32, "numpy.float32"),
    "dtype": (np.dtype("int8"), "int8"),
    "class": (Optimizer, f"{__name__}.Optimizer"),
    "builtin": (len, "len"),
    "function": (work, f"{__name__}.work"),
    "partial": (functools.partial(work, 2), "functools.partial(<function work>, 2)"),
    "object": (object(), "<object object>"),
    "odd object": (Odd(), "<test_describing.Odd object>"),
    "complex": (1 + 2j, "(1+2j)"),
    "decimal": (decimal.Decimal("1.50"), "1.50"),
    "uuid": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "bytes": (b"\x00a", "b'\\x00a'"),
    "large number": (2**70, str(2**70)),
    "very large number": (10**5000, "<int object>"),
    "time": (dt.time(3, 4), "03:04:00"),
    "date": (dt.date(2024, 1, 2), dt.datetime(2024, 1, 2)),
    "surrogate": ("\ud800", "\\ud800"),
    "array": (np.arange(4.0).reshape(2, 2), [[0.0, 1.0], [2.0, 3.0]]),
    "array of times": (np.array(["2024-01-02"], dtype="M8[D]"), [dt.datetime(2024, 1, 2)]),
    "array of objects": (np.array([1, "a"], dtype=object), [1, "a"]),
    "array of sets": (np.array([{1}, 2], dtype=object), "ndarray of object, shape (2,)"),
    "array of complex numbers": (np.zeros(2, complex), "ndarray of complex128, shape (2,)"),
    "large array": (np.zeros((1000, 1000), np.float32), "ndarray of float32, shape (1000, 1000)"),
    "array of Python": (array.array("i", [1, 2]), [1, 2]),
    "scalar of NumPy": (np.float32(0.5), 0.5),
    "text of NumPy": (np.str_("a"), "a"),
}


@pytest.mark.parametrize("case", PARTS)
def test_whatever_a_config_holds_is_described_and_can_be_sent(case):
    part, expected = PARTS[case]
    for config in ({"part": part}, {"part": part, "deep": [{"part": part}]}):
        told = described(config)
        shown = json.loads(json.dumps(told["part"], default=str).replace(f"{__name__.rpartition('.')[0]}.", ""))
        wanted = json.loads(json.dumps(expected, default=str))
        assert shown == wanted or told["part"] == expected
        assert encode_begin(Begin("r", told, None, False), 0.0)


WHOLE = {
    "namespace": (argparse.Namespace(lr=0.1), {"lr": 0.1}),
    "dataclass": (Optimizer(0.1), OPTIMIZER),
    "model": (Model(width=2), {"width": 2, "optimizer": {**OPTIMIZER, "lr": 0.5}, "key": "**********"}),
    "nothing": (None, {}),
}


@pytest.mark.parametrize("case", WHOLE)
def test_what_has_fields_can_be_the_whole_config(case):
    config, expected = WHOLE[case]
    assert described(config) == expected


def test_a_plain_class_and_its_instances_are_configs_of_their_attributes():
    class Config:
        lr = 0.1
        _private = 1

        def method(self):
            pass

    changed = Config()
    changed.lr, changed.extra = 0.2, Path("x")
    assert described(Config) == {"lr": 0.1} and described(changed) == {"lr": 0.2, "extra": "x"}


@pytest.mark.parametrize("config", ["name of a run", 3, ["a"], b"x", object(), np.zeros(3)])
def test_what_has_no_fields_is_not_a_config(config):
    with pytest.raises(InvalidData, match="is not a config"):
        described(config)


def test_a_config_of_omegaconf_is_described_with_what_is_missing_in_it():
    omegaconf = pytest.importorskip("omegaconf")
    config = omegaconf.OmegaConf.create({"lr": 0.1, "twice": "${lr}", "sizes": [1, "${lr}"], "name": "???", "bad": "${nowhere}"})
    told = described({"whole": config})["whole"]
    assert told == described(config)
    assert told == {
        "lr": 0.1,
        "twice": 0.1,
        "sizes": [1, 0.1],
        "name": "(MissingMandatoryValue)",
        "bad": "(InterpolationKeyError)",
    }


def test_a_config_that_contains_itself_or_explodes_ends(caplog):
    config = {"a": 1}
    config["self"] = config
    config["list"] = [config, {"again": config}]
    assert described(config) == {"a": 1, "self": "...", "list": ["...", {"again": "..."}]}
    bomb = []
    for _ in range(50):
        bomb = [bomb, bomb]
    with caplog.at_level(logging.WARNING, "streamvis"):
        told = described({"bomb": bomb, "after": 1, "more": 2})
    assert len(json.dumps(told)) < 2 * 2**20 and "more" not in told
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("part", ["ä" * 10**6, "\x00" * 10**6, list(range(10**6)), {i: i for i in range(10**5)}, range(10**12)])
def test_a_config_that_is_too_long_is_cut_to_what_the_endpoint_takes(part, caplog):
    told = described({"before": 1, "part": part})
    assert told["before"] == 1 and told["part"]
    assert 2**16 < len(json.dumps(told)) < 2 * 2**20
    assert len(caplog.records) == 1 and "left out" in caplog.text


def test_a_config_is_a_copy():
    config = {"a": [1], "b": {"c": np.zeros(2)}}
    told = described(config)
    config["a"][0] = config["b"]["c"][0] = 9
    assert told == {"a": [1], "b": {"c": [0.0, 0.0]}}


def test_two_processes_describe_a_config_alike():
    program = (
        "import functools, json; from streamvis.client.values.describing import described\n"
        "class Odd: pass\n"
        "def work(): pass\n"
        "print(json.dumps(described({'s': set('abcdefgh'), 'o': Odd(), 'w': work, 'p': functools.partial(work), 'l': [Odd]})))"
    )
    told = {subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(told) == 1 and "0x" not in told.pop()


def test_describing_a_plain_config_imports_no_library():
    program = (
        "import sys; from streamvis.client.values.describing import described; described({'a': {1, 2}, 'b': len})\n"
        "print(*sys.modules.keys() & {'numpy', 'torch', 'pydantic', 'omegaconf', 'argparse'})"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split() == []
