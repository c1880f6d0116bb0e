"""Reads segments with DuckDB and with pyarrow and prints, as JSON, what is in each column.

The columns' kinds and names come as JSON from standard input. Integers are shown as SQL shows them:
from 2^63 on, as their two's complement.
"""

import json
import sys

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq


def signed(value):
    return value - (1 << 64) if value >= 1 << 63 else value


def summary(kind, values):
    """Of the values of one column, nulls left out."""
    if kind in ("bool", "integer"):
        values = [signed(int(value)) for value in values]
    elif kind in ("text", "bytes"):
        values = [value.encode() if isinstance(value, str) else bytes(value) for value in values]
    found = {"count": len(values), "distinct": len(set(values)), "min": None, "max": None, "sum": 0}
    if values:
        found["min"], found["max"] = min(values), max(values)
        if kind == "real":
            found["sum"] = sum(values)
        elif kind in ("text", "bytes"):
            found["min"], found["max"] = found["min"].hex().upper(), found["max"].hex().upper()
            found["sum"] = sum(len(value) for value in values)
        else:
            found["sum"] = sum((value & 1048575) + 2097152 * (value < 0) for value in values)
    return found


def with_duckdb(files, columns):
    connection = duckdb.connect()
    source = f"read_parquet({files!r})"
    found = {"rows": connection.execute(f"SELECT count(*) FROM {source}").fetchone()[0]}
    found["columns"] = {}
    for name, kind in columns:
        sql = f'SELECT "{name}" FROM {source} WHERE "{name}" IS NOT NULL'
        values = [row[0] for row in connection.execute(sql).fetchall()]
        found["columns"][name] = summary(kind, values)
        # DuckDB's own aggregates, which use its statistics of the file.
        sql = f'SELECT count("{name}"), count(DISTINCT "{name}") FROM {source}'
        own = connection.execute(sql).fetchone()
        assert own == (len(values), len(set(values))), (name, own)
    return found


def with_pyarrow(files, columns):
    table = ds.dataset(files, format="parquet").to_table()
    found = {"rows": table.num_rows, "columns": {}}
    for name, kind in columns:
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        values = [value for value in column.to_pylist() if value is not None]
        assert pc.count(column).as_py() == len(values), name
        found["columns"][name] = summary(kind, values)
    return found


def main():
    asked = json.load(sys.stdin)
    answers = {"duckdb": {}, "pyarrow": {}, "row_groups": {}}
    for table, columns in asked["tables"].items():
        files = asked["files"][table]
        answers["row_groups"][table] = sum(pq.ParquetFile(file).num_row_groups for file in files)
        answers["duckdb"][table] = with_duckdb(files, columns)
        answers["pyarrow"][table] = with_pyarrow(files, columns)
    json.dump(answers, sys.stdout)


main()
