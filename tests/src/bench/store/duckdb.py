"""Answers questions with DuckDB: reads them as JSON from standard input, prints JSON."""

import json
import os
import statistics
import sys
import time

import duckdb

FEW_S = 10.0


def digest(rows):
    total, text = 0, 0
    for row in rows:
        for value in row:
            if isinstance(value, (int, bool)):
                total += int(value)
            elif isinstance(value, (str, bytes)):
                text += len(value.encode() if isinstance(value, str) else value)
    total &= (1 << 64) - 1
    return {"rows": len(rows), "sum": total - (1 << 64) if total >> 63 else total, "text_bytes": text}


def measure(connection, sql, runs):
    # The first run is checked and warms the cache. The others are taken as Arrow tables, which
    # is DuckDB's fastest way to hand rows over.
    began = time.perf_counter()
    answer = digest(connection.execute(sql).fetchall())
    if time.perf_counter() - began > FEW_S:
        runs = 1
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        connection.sql(sql).to_arrow_table()
        took.append(time.perf_counter() - began)
    return {"ms": statistics.median(took) * 1e3, "digest": answer}


def main():
    asked = json.load(sys.stdin)
    answers = {"version": duckdb.__version__, "own": {}, "parquet": {}}
    own = duckdb.connect(asked["database"])
    parquet = duckdb.connect()
    for connection in (own, parquet):
        # It goes to standard output, where the answers do.
        connection.execute("SET enable_progress_bar = false")
    for table, paths in asked["files"].items():
        files = f"read_parquet({paths!r})"
        parquet.execute(f"CREATE VIEW {table} AS SELECT * FROM {files}")
        own.execute(f"CREATE TABLE {table} AS SELECT * FROM {files} ORDER BY time_ns")
    own.execute("CHECKPOINT")
    answers["bytes"] = os.path.getsize(asked["database"])
    for name, sql in asked["queries"]:
        answers["own"][name] = measure(own, sql, asked["runs"])
        answers["parquet"][name] = measure(parquet, sql, asked["runs"])
    json.dump(answers, sys.stdout)


main()
