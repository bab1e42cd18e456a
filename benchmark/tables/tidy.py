"""A table for programs: every number in a column, or under a key, of its own."""

from dataclasses import asdict
from statistics import stdev
from typing import Any

import pandas as pd

from benchmark.tables.cells import Cell
from benchmark.tables.significance import Gain
from benchmark.tables.table import Heading, Table


def tidy(table: Table) -> pd.DataFrame:
    """Return a row a cell, in the order of the table.

    The columns are ``row``, ``label`` (what it is called), ``column``, ``score``, ``part``, then of the scores
    ``mean``, ``std`` (the sample's) and ``n`` (seeds), then, of the difference to the baseline, ``gain``, ``low`` and
    ``high`` (its interval at ``confidence``), ``pairs`` and ``p`` (corrected), of its judgement ``paired_sd``,
    ``seeds_needed`` and ``verdict``, and ``not_finished``, a number of runs.
    """
    rows = []
    for row in table.rows:
        for heading in table.headings:
            if (cell := table.cells.get((row, heading))) is None:
                continue
            gain = table.gains.get((row, heading))
            rows.append(
                {
                    table.corner: row,
                    "label": table.showing.word(row),
                    "column": heading.column,
                    "score": heading.score,
                    "part": heading.part,
                    **_numbers(cell),
                    **_compared(table, gain),
                    **_judged(table, row, heading),
                    "not_finished": sum(end.count for end in cell.endings),
                }
            )
    frame = pd.DataFrame(rows)
    return frame.astype({name: kind for name, kind in _KINDS.items() if name in frame.columns})


_KINDS = {
    **dict.fromkeys(("n", "pairs", "seeds_needed", "not_finished"), "Int64"),
    **dict.fromkeys(("mean", "std", "gain", "low", "high", "confidence", "p", "paired_sd"), "float64"),
}


def _compared(table: Table, gain: Gain | None) -> dict[str, Any]:
    if table.baseline is None:
        return {}
    found = Gain(float("nan"), 0) if gain is None else gain
    return {
        "gain": found.mean,
        "low": found.low,
        "high": found.high,
        "confidence": found.confidence,
        "pairs": found.n or None,
        "p": found.adjusted,
    }


def _judged(table: Table, row: str, heading: Heading) -> dict[str, Any]:
    if table.judgement is None:
        return {}
    found = table.judgement.verdicts.get((row, heading))
    if found is None:
        return {"paired_sd": None, "seeds_needed": None, "verdict": ""}
    return {"paired_sd": found.sd, "seeds_needed": found.seeds, "verdict": found.text}


def structured(table: Table) -> dict[str, Any]:
    """Return the table as JSON has it: every cell with its numbers and the value of every seed."""
    ranks, used, _ = table.ranks()
    verdicts = table.judgement.verdicts if table.judgement else {}
    showing = table.showing
    return {
        "rows": list(table.rows),
        "columns": [heading.text for heading in table.headings],
        "labels": {word: showing.word(word) for word in (*table.rows, *(key.column for key in table.headings))},
        "cells": [
            {"row": row, "column": heading.column, "score": heading.score, "part": heading.part}
            | _numbers(cell)
            | {
                "seeds": {str(seed): value for seed, value in cell.values.items()},
                "not_finished": {str(end.status): {"count": end.count, "reason": end.reason} for end in cell.endings},
            }
            | ({"gain": _gain(table.gains[row, heading])} if (row, heading) in table.gains else {})
            | ({"verdict": verdicts[row, heading].data()} if (row, heading) in verdicts else {})
            for (row, heading), cell in table.cells.items()
        ],
        "average_rank": ranks,
        "average_rank_columns": used,
        "aggregates": {row: asdict(found) for row, found in table.aggregates.items()},
        "baseline": table.baseline,
        "resolve": table.judgement.bound if table.judgement else None,
        "notes": table.notes(),
    }


def _numbers(cell: Cell) -> dict[str, Any]:
    values = [*cell.values.values()]
    return {"mean": cell.mean, "std": stdev(values) if len(values) > 1 else None, "n": len(values)}


def _gain(gain: Gain) -> dict[str, object]:
    return vars(gain) | {"significant": gain.significant}
