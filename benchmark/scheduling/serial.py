"""Many runs, one after the other in this process."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmark.datasets import Dataset
from benchmark.scheduling.observer import Observer
from benchmark.store import Result

if TYPE_CHECKING:
    from benchmark.scheduling.execution import Job


def run_serially(jobs: Sequence["Job"], datasets: Mapping[str, Dataset], observer: Observer) -> list[Result]:
    """Carry out the jobs in this process, in order, and return how they ended.

    Args:
        jobs: What to run.
        datasets: By name.
        observer: Is told of everything.
    """
    from benchmark.scheduling.execution import Execution

    results = []
    for job in jobs:
        observer.started(job.config)
        execution = Execution(job, datasets[job.config.dataset])
        while execution.result is None:
            row = execution.advance()
            for line in execution.take_notes():
                observer.note(job.config, line)
            if row is not None:
                observer.epoch(job.config, row)
        observer.ended(job.config, execution.result)
        results.append(execution.result)
    return results
