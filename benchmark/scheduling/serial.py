"""Many runs, one after the other in this process."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmark.datasets import Dataset
from benchmark.scheduling.observer import Observer
from benchmark.scheduling.time_limit import NOT_BEGUN, Pace
from benchmark.store import Result

if TYPE_CHECKING:
    from benchmark.scheduling.execution import Job


def run_serially(jobs: Sequence["Job"], datasets: Mapping[str, Dataset], observer: Observer) -> list[Result]:
    """Carry out the jobs in this process, in order, and return how they ended.

    When their time is up the rest is not begun.

    Args:
        jobs: What to run.
        datasets: By name.
        observer: Is told of everything.
    """
    from benchmark.scheduling.execution import Execution

    results: list[Result] = []
    pace = Pace(jobs[0].limit if jobs else None)
    for job in jobs:
        execution = Execution(job, datasets[job.config.dataset], pace)
        if not execution.has_time():
            results.append(NOT_BEGUN)
            continue
        observer.started(job.config)
        while execution.result is None:
            row = execution.advance()
            for line in execution.take_notes():
                observer.note(job.config, line)
            if row is not None:
                observer.epoch(job.config, row)
        observer.ended(job.config, execution.result)
        results.append(execution.result)
    return results
