"""pandas, polars and DuckDB read what was exported, with the types that were sent and missing cells apart from NaN."""

import datetime as dt
import math

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest

from streamvis import Client
from streamvis.reading.export import export_run

WHEN = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)


@pytest.fixture
def exported(reader, app, tmp_path):
    """`exported(format)`: the file of the key `train`."""
    with Client(reader.url, app) as client:
        client.init(run=app[:60])
        small = np.arange(3, dtype=np.uint8)
        two = {"loss": [0.5, math.nan], "n": [2**60 + 1, -1], "on": [True, False], "what": ["a", "größe"], "small": small[:2]}
        client.sendl(0, "train", two)
        client.sendl(1, "train", {"loss": np.array([1.5]), "when": [WHEN], "small": small[2:]})

    def export(format):
        folder = export_run(reader.run(app[:60]), tmp_path / format, format=format)
        return folder / f"train.{format}"

    return export


def test_pandas(exported):
    table = pd.read_parquet(exported("parquet"), dtype_backend="pyarrow")
    kinds = {name: str(kind) for name, kind in table.dtypes.items()}
    assert kinds["step"] == "int64[pyarrow]" and kinds["time"] == "double[pyarrow]" and kinds["loss"] == "double[pyarrow]"
    assert kinds["n"] == "int64[pyarrow]" and kinds["on"] == "bool[pyarrow]" and kinds["small"] == "uint8[pyarrow]"
    assert kinds["when"].startswith("timestamp[") and table["when"].iloc[2] == pd.Timestamp(WHEN)
    assert table["n"].iloc[0] == 2**60 + 1 and table["n"].isna().tolist() == [False, False, True]
    assert table["what"].iloc[1] == "größe"
    plain = pd.read_csv(exported("csv"))
    assert plain["step"].dtype == np.int64 and plain["loss"].dtype == np.float64 and plain["what"].tolist()[:2] == ["a", "größe"]
    lines = pd.read_json(exported("jsonl"), lines=True)
    assert lines["step"].tolist() == [0, 0, 1]


def test_polars(exported):
    for table in (pl.read_parquet(exported("parquet")), pl.read_ipc_stream(exported("arrow"))):
        kinds = dict(table.schema)
        assert kinds["step"] == pl.Int64 and kinds["loss"] == pl.Float64 and kinds["n"] == pl.Int64 and kinds["on"] == pl.Boolean
        assert kinds["what"] == pl.String and kinds["small"] == pl.UInt8 and isinstance(kinds["when"], pl.Datetime)
        assert kinds["when"].time_zone == "UTC" and table["when"].to_list() == [None, None, WHEN]
        assert table["n"].to_list() == [2**60 + 1, -1, None]
        assert table["loss"].is_null().to_list() == [False] * 3 and table["loss"].is_nan().to_list() == [False, True, False]


def test_duckdb(exported):
    file = exported("parquet")
    kinds = dict(row[:2] for row in duckdb.sql(f"DESCRIBE SELECT * FROM '{file}'").fetchall())
    assert {name: kinds[name] for name in ("step", "time", "loss", "n", "on", "what", "small", "when")} == {
        "step": "BIGINT",
        "time": "DOUBLE",
        "loss": "DOUBLE",
        "n": "BIGINT",
        "on": "BOOLEAN",
        "what": "VARCHAR",
        "small": "UTINYINT",
        "when": "TIMESTAMP WITH TIME ZONE",
    }
    counted = duckdb.sql(f"SELECT count(*), count(n), max(n), count(loss) FROM '{file}'").fetchall()
    assert counted == [(3, 2, 2**60 + 1, 3)]
    losses = [row[0] for row in duckdb.sql(f"SELECT loss FROM '{file}'").fetchall()]
    assert [losses[0], losses[2]] == [0.5, 1.5] and math.isnan(losses[1])
    of_csv = dict(row[:2] for row in duckdb.sql(f"DESCRIBE SELECT * FROM '{exported('csv')}'").fetchall())
    assert of_csv["step"] == "BIGINT" and of_csv["loss"] == "DOUBLE" and of_csv["on"] == "BOOLEAN"


def test_tables_of_open_are_taken_as_they_are(reader, app, exported):
    exported("parquet")
    read = reader.run(app[:60]).rows("train")
    assert pl.from_arrow(read)["n"].to_list() == [2**60 + 1, -1, None]
    assert duckdb.sql("SELECT max(n) FROM read").fetchall() == [(2**60 + 1,)]
    assert read.to_pandas()["loss"].isna().tolist() == [False, True, False]
