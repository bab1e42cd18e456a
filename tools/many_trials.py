"""``make large``, second part: what Ray's driver takes for a trial of a run that takes no time.

``python -m tools.many_trials [TRIALS ...]`` prints, for each number (200, 2,000 and 10,000 if none is given), the
driver's CPU time and the wall time per trial. The trials are those of ``bench run``, but for the training.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmark import running
from benchmark.console import new_console
from benchmark.scheduling import Cluster, Display, set_environment
from benchmark.store import Result, Status

NUMBERS = (200, 2000, 10_000)

MOST_MS = 15.0
GROWTH = 1.3


def measure(numbers: list[int], results: Path) -> dict[int, tuple[float, float]]:
    """Return by number of trials the driver's CPU seconds and the wall seconds per trial; one cluster does all."""
    set_environment(Cluster())
    from ray import tune

    from benchmark.scheduling import ACCURACY, ListSearcher, ProgressCallback, ray_engine
    from benchmark.scheduling.cluster import ray_cluster
    from benchmark.scheduling.preflight import prepare

    class Trivial(tune.Trainable):
        """Ends as soon as it begins."""

        def setup(self, config: dict[str, Any], **given: Any) -> None:
            """Nothing."""

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            """Return that the process takes the next one."""
            return True

        def step(self) -> dict[str, Any]:
            """Return that the run has finished."""
            return {ACCURACY: 0.0, "events": [("ended", 0, Result(Status.FINISHED))], "done": True}

    command = running.prepare([{"methods": "dml", "dataset": "digits", "seeds": 1, "results": str(results)}])
    job, (run,) = running.job(command), command.runs
    found, console = {}, new_console(quiet=True)
    with ray_cluster(Cluster()):
        placement = prepare(job, Cluster(), max(numbers), 1, lambda line: None)
        # the first trials start the workers
        for number in (20, *numbers):
            runs = [run.model_copy(update={"seed": seed}) for seed in range(number)]
            callback, searcher = (
                ProgressCallback(job, Display(number, console)),
                ListSearcher([[run] for run in runs]),
            )
            wall, cpu = time.perf_counter(), time.process_time()
            ray_engine.fit(Trivial, callback, searcher, placement)
            found[number] = (time.process_time() - cpu) / number, (time.perf_counter() - wall) / number
            assert {result.status for result in callback.ends(runs)} == {Status.FINISHED}
    return found


def main() -> None:
    """Measure and print; the exit code is 1 if a trial takes more than it may, or more where there are more of them."""
    numbers = sorted(map(int, sys.argv[1:])) or list(NUMBERS)
    with TemporaryDirectory() as folder:
        found = measure(numbers, Path(folder))
    for number in numbers:
        cpu, wall = found[number]
        print(f"{number:>6} trials: {1000 * cpu:.1f} ms of the driver's CPU each, {1000 * wall:.1f} ms in all")
    growth = found[numbers[-1]][0] / found[numbers[0]][0]
    print(f"growth from {numbers[0]} to {numbers[-1]} trials: {growth:.2f} (below {GROWTH}), at most {MOST_MS} ms each")
    sys.exit(growth >= GROWTH or max(1000 * found[number][0] for number in numbers) > MOST_MS)


if __name__ == "__main__":
    main()
