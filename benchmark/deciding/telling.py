"""What repeated looks have decided, in words and in a table."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmark.deciding.looking import Decision
from benchmark.metrics import HEADLINE, METRICS
from benchmark.tables import (
    ALPHA,
    MIN_PAIRS,
    Heading,
    Judgement,
    Table,
    Verdict,
    Word,
    direction,
    paired_sd,
    same_text,
    seeds_needed,
    spread_note,
    tost,
)

UNDECIDED: Word = "undecided"

ONE_LOOK = "the intervals of the gains are those of one look, and take no account of the others"


def word_of(decision: Decision, bound: float) -> tuple[Word, str]:
    """Return a decision's word, and how a table says it."""
    if decision.what == "same":
        return "same", same_text(bound)
    word = direction(decision.difference, METRICS[HEADLINE].better)
    return word, word


def summary(decisions: Mapping[str, Decision], look: int, comparisons: int, bound: float) -> str:
    """Return what is decided after a look, on one line.

    Args:
        decisions: By the name of the comparison.
        look: How many seeds are there.
        comparisons: How many there are to decide.
        bound: Half-width of what counts as the same.
    """
    parts = [f"{name} {word_of(decision, bound)[1]}" for name, decision in decisions.items()]
    told = f": {', '.join(parts)}" if parts else ""
    return f"look at {look} seeds: {len(decisions)} of {comparisons} decided{told}"


def statement(bound: float, looks: Sequence[int], comparisons: int) -> str:
    """Return how the verdicts of repeated looks come about, and what they allow for, on one line."""
    times = ", ".join(map(str, looks))
    corrected = f", shared among the {comparisons} comparisons by Holm's correction" if comparisons > 1 else ""
    return (
        f"verdict: decided by looks at {times} seeds at most, and then kept; all looks together call a method better "
        f"or worse by luck with a probability of at most {ALPHA:.0%} (O'Brien-Fleming-type error spending of Lan and "
        f"DeMets, levels exact for the paired t-test{corrected}), and one the same within {bound:g} that is "
        f"{bound:g} or more away with at most {ALPHA:.0%} for each (both one-sided tests, the same spending)"
    )


def judgement(
    table: Table,
    baseline: str,
    decisions: Mapping[tuple[str, Heading], Decision],
    look: int,
    bound: float,
    looks: Sequence[int],
    comparisons: int,
) -> Table:
    """Return a table with the verdicts of repeated looks.

    The gains keep their intervals; their p values are left out, as those of one look mislead after several.

    Args:
        table: With gains over the baseline.
        baseline: The row that the others are compared with.
        decisions: By row and heading.
        look: How many seeds are there.
        bound: Half-width of what counts as the same.
        looks: All that there can be.
        comparisons: How many there are to decide.
    """
    verdicts = {}
    for (row, heading), gain in table.gains.items():
        ours, base = table.cells[row, heading].values, table.cells[baseline, heading].values
        sd, decision = paired_sd(ours, base), decisions.get((row, heading))
        spread = bool(sd) and gain.n >= MIN_PAIRS and gain.p is not None
        word, text = word_of(decision, bound) if decision else (UNDECIDED, f"undecided after {look} seeds")
        verdicts[row, heading] = Verdict(
            word=word,
            text=text if decision is None else f"{text}, at {decision.look} seeds",
            n=gain.n,
            sd=sd,
            seeds=seeds_needed(bound, sd) if spread and sd else None,
            equivalence=tost(gain.mean, sd, gain.n, bound) if spread and sd else None,
        )
    notes = [spread_note(bound, baseline), statement(bound, looks, comparisons), ONE_LOOK]
    gains = {key: replace(gain, p=None, adjusted=None) for key, gain in table.gains.items()}
    return replace(table, gains=gains, judgement=Judgement(bound, verdicts, notes))
