"""A request of ``bench run`` with everything resolved."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark import datasets, optional_imports
from benchmark.configuration import OPTIONS, Engine, Layer, LogitsType, Request, RunConfig, datasets_named, plan
from benchmark.scheduling import Cluster, TimeLimit, logging_backends
from benchmark.store import Store
from methods import registry
from methods.errors import InputError, unknown


@dataclass(frozen=True)
class Command:
    """A request with everything resolved."""

    runs: Sequence[RunConfig]  # all runs that were asked for
    store: Store
    data_root: Path
    plugins: tuple[str, ...]
    force: bool  # whether finished ones are repeated
    engine: Engine  # `ray` or `serial`
    cluster: Cluster
    device: str  # `auto`, `cpu`, `cuda` or `cuda:N`; of several GPUs the first
    save_students: bool  # whether weights are kept
    # what the predictors' logits on the scored images are kept as; None if they are not
    predictions: LogitsType | None = None
    log: tuple[str, ...] = ()  # the logging backends that are told of everything
    shares: Sequence[str] = ()  # a line for each kind of run on what it spends, in a plan of equal cost
    broken: Sequence[str] = ()  # a line for each plug-in that cannot be used
    limit: TimeLimit | None = None  # by when it has to end, all being done or not

    @property
    def worker_device(self) -> str:
        """What a run's own process is told: a worker of Ray sees the GPU that it was given, and no other."""
        return "cuda" if self.engine == "ray" and self.cluster.gpus else self.device

    @property
    def trains_here(self) -> bool:
        """Whether this machine is the only one that trains."""
        return self.engine == "serial" or not self.cluster.address

    def of(self, runs: Sequence[RunConfig]) -> "Command":
        """Return the same command for some of its runs."""
        return replace(self, runs=runs)

    def missing(self) -> list[RunConfig]:
        """Return the runs that are still to be carried out."""
        return [run for run in self.runs if self.force or not self.store.ended(run)]


def prepare(
    layers: Sequence[Layer],
    plugins: tuple[str, ...] = (),
    force: bool = False,
    begun: float | None = None,
    fetch: bool = False,
) -> Command:
    """Resolve a request.

    Args:
        layers: Keys and values, weakest first; below them is each dataset's recipe.
        plugins: Python files that define further methods and datasets.
        force: Whether finished runs are repeated.
        begun: When the command began, as ``time.time()`` gives it, which its time is counted from; now for None.
        fetch: Whether datasets that are not there are downloaded, where only their content can identify the runs.

    Raises:
        InputError: For anything unknown or out of range.
        MachineError: If the engine is not installed.
    """
    # all of them are checked first: a plan takes any key with a mapping for a method
    chosen = {key: Request(layers, plugins).option(key) for key in OPTIONS}
    engine, kept_as, address = chosen["engine"], chosen["predictions_type"], chosen["address"]
    if engine == "ray":
        optional_imports.need("engine ray", "ray", instead="give --engine serial")
    if chosen["stop_after"] is not None and force:
        raise InputError(
            "stop_after means that the command is given again, and force that it begins anew each time: "
            "leave out force, and move the old runs away with bench rm"
        )
    limit = None if chosen["stop_after"] is None else TimeLimit.after(chosen["stop_after"], begun)
    if kept_as is not None and not chosen["save_predictions"]:
        raise InputError("predictions_type says what save_predictions keeps: give both")
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3}(,[0-9]{1,3})*)?", chosen["device"]):
        raise unknown("device", chosen["device"], ("auto", "cpu", "cuda", "cuda:N", "cuda:N,M"))
    numbers = chosen["device"].partition(":")[2].split(",")
    gpus = tuple(dict.fromkeys(int(number) for number in numbers if number))
    device = f"cuda:{gpus[0]}" if gpus else chosen["device"]
    if gpus and address:
        raise InputError(f"--device {chosen['device']} names GPUs of this machine: with --address give --device cuda")
    if len(gpus) > 1 and engine == "serial":
        raise InputError(f"engine serial takes one GPU (given: --device {chosen['device']}; engine ray takes several)")
    broken = registry.broken_files(plugins)
    data_root = chosen["data_root"] or datasets.default_root()
    if fetch:
        for name in datasets_named(chosen["dataset"]):
            datasets.describe(name, plugins).fetch(name, data_root)
    request = Request(layers, plugins, data_root)
    method, macs = chosen["equal_cost"], chosen["budget"]
    shares: list[str] = []
    if chosen["cost"] == "time" and method is None:
        raise InputError("cost says what equal_cost makes equal: give equal_cost, a method")
    if method is not None and macs is not None:
        raise InputError("equal_cost and budget say the same thing in two ways: give one")
    if method is None and macs is None:
        runs = plan(request, datasets)
    else:
        from benchmark.speed.equal_cost import at_equal_cost

        runs, found = at_equal_cost(request, device)
        shares = list(map(str, found))
    return Command(
        runs=runs,
        shares=shares,
        broken=tuple(broken),
        store=Store(chosen["results"]),
        data_root=data_root,
        plugins=plugins,
        force=force,
        engine=engine,
        cluster=Cluster(address, chosen["trials_per_gpu"], gpus),
        device=device,
        save_students=chosen["save_students"],
        predictions=(kept_as or "float16") if chosen["save_predictions"] else None,
        log=logging_backends.check(chosen["log"]),
        limit=limit,
    )
