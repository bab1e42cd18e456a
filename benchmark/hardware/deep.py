"""``bench doctor --deep``: four parts, each with its share of the time, each written as soon as it is known."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tabulate import tabulate

from benchmark.hardware import measurements, reference
from benchmark.hardware.measurements import (
    Check,
    DeviceReport,
    Found,
    Mode,
    Part,
    PartProcess,
    Speed,
    Workload,
)
from benchmark.scheduling import usable_cpus
from benchmark.store import check_folder, environment, put
from benchmark.training import Machine, MachineRecord, check_settings, choose_device, recording_key
from methods.errors import InputError
from methods.plugins import reason_of

PARTS: dict[str, float] = {
    "stored trajectories": 0.15,
    "the same bits again, resumed and recorded": 0.35,
    "training steps": 0.78,
    "runs at the same time": 1.0,
}
"""The parts, and the share of the time by which each has to end."""

USED = 0.93
"""Of the time that is given: what is under way when it is over still ends."""

ROOM_S, COMPILATION_S = 20.0, 45.0
"""Below which no runs are started at the same time, which would not be ready; and of a network, about."""

MOST_RUNS = 8
"""At the same time."""

MODES: tuple[Mode, ...] = ("eager", "graph", "compiled")


class Task(NamedTuple):
    """One measurement."""

    measure: Callable[..., Sequence[Check | Speed]]
    arguments: tuple[Any, ...]
    least_s: float = 0.0  # that it is expected to take at least
    otherwise: Callable[[str], Speed] | None = None  # the row where it fails; without it the part fails


def deep(minutes: float, folder: Path, device_name: str = "auto", say: Callable[[str], None] = print) -> DeviceReport:
    """Measure a machine: write ``doctor.json`` and ``doctor.md`` after every measurement, and its record at the end.

    Args:
        minutes: That all of it may take; parts that do not fit are cut and say so.
        say: Is given a line at the end of each part.

    Raises:
        InputError: If the device is not there.
    """
    device = choose_device(device_name)
    check_folder(folder)
    doctor = _Doctor(Workload.of(device), minutes, folder)
    doctor.measure(say)
    record = machine_record(Machine.of(device), doctor.workload, doctor.found)
    if record is not None:
        try:
            record.write()
            say(f"the record by which runs on this machine are trained: {record.machine.file}")
        except InputError as error:
            say(f"the record of this machine was not written: {error}")
    return doctor.found


def machine_record(machine: Machine, workload: Workload, found: DeviceReport) -> MachineRecord | None:
    """Return what of a report later runs are trained by; None if it has nothing of that."""
    recorded: dict[str, dict[str, bool]] = {}
    for check in found.checks:
        if check.what == "recorded" and check.refusal is None:
            key = recording_key(check.arithmetic, check.optimizer)
            recorded.setdefault(key, {})[check.method] = check.fault is None
    method, backbone, precision = workload.methods[0], workload.backbones[0], workload.precisions[0]
    alone = [own for own in found.speeds if own.gain is None and (own.method, own.backbone) == (method, backbone)]
    rates = {(own.precision, own.mode): own.images_per_s.median for own in alone if own.images_per_s is not None}
    settings = {"graph": (precision, "graph"), "bf16": ("bf16", "eager"), "compile": (precision, "compiled")}
    standard = rates.get((precision, "eager"))
    gains = {name: rates[key] / standard for name, key in settings.items() if standard and key in rates}
    together = {own.gain: own.runs for own in found.speeds if own.gain is not None}
    gains |= {"parallel": max(together)} if together else {}
    if not recorded and not gains:
        return None
    measured = f"{method}, {backbone}, batch {workload.batch_size}"
    runs = together[max(together)] if together else 1
    return MachineRecord(machine=machine, workload=measured, recorded=recorded, runs_per_device=runs, gains=gains)


class _Doctor:
    """The four parts: each adds rows to what was found, and yields what was cut."""

    def __init__(self, workload: Workload, minutes: float, folder: Path) -> None:
        self.workload = workload
        self.folder = folder
        self.process = PartProcess()
        self._begun = time.perf_counter()
        self._limit = self._until = 60 * minutes * USED
        self.found = DeviceReport(
            device=environment.device_name(str(workload.device)),
            kind=workload.device.type,
            versions=environment.versions(),
            minutes=minutes,
            parts=[Part(title=title) for title in PARTS],
        )

    @property
    def left(self) -> float:
        """Seconds left of the part; none or less once it is over. What an earlier one left over is its own."""
        return self._until - (time.perf_counter() - self._begun)

    def measure(self, say: Callable[[str], None]) -> None:
        """Carry out all parts: whatever goes wrong in one, the others are measured."""
        measures = (self.agreements, self.repeats, self.steps, self.parallel)
        for part, until, measure in zip(self.found.parts, PARTS.values(), measures, strict=True):
            self._until = until * self._limit
            begin = time.perf_counter()
            try:
                part.notes += measure()
                part.status = "cut" if part.notes else "complete"
            except Exception as error:
                part.notes, part.status = [reason_of(error)], "failed"
            finally:
                self.process.close()
            part.seconds = time.perf_counter() - begin
            self._write()
            say(f"{part.title}: {part.status} ({part.seconds:.1f} s)")
            for note in part.notes:
                say(f"  {note}")

    def _write(self) -> None:
        self.found.seconds = time.perf_counter() - self._begun
        put(self.folder / "doctor.json", self.found.model_dump_json(indent=1) + "\n")
        put(self.folder / "doctor.md", page(self.found))

    def _carry_out(self, tasks: Sequence[Task], rows: list[Any], what: str) -> Iterator[str]:
        """Carry out the first task, and all for which as much of the part is left as the one before took."""
        took, cut = 0.0, 0
        for number, task in enumerate(tasks):
            if number and max(took, task.least_s) > self.left:
                cut += 1
                continue
            begin = time.perf_counter()
            try:
                rows += self.process(task.measure, *task.arguments)
            except Exception as error:
                if task.otherwise is None:
                    raise
                rows.append(task.otherwise(reason_of(error)))
            took = time.perf_counter() - begin
            self._write()
        if cut:
            yield _cut(cut, len(tasks), what)

    def agreements(self) -> Iterator[str]:
        """Stored trajectories, in every arithmetic of the device, the table's own method first."""
        device, stored = self.workload.device, reference.read()
        arithmetics = dict.fromkeys(("float64", "fp32", *self.workload.precisions))
        methods = [method for method in self.workload.methods if method in stored]
        settings = [(device, stored[method], method, arithmetic) for method in methods for arithmetic in arithmetics]
        return self._carry_out([Task(reference.compare, each) for each in settings], self.found.checks, "trajectories")

    def repeats(self) -> Iterator[str]:
        """Runs again and resumed, and with recorded steps where the device has them: the table's own method first."""
        workload, cuda = self.workload, self.workload.device.type == "cuda"
        (own, *others), default = workload.methods, workload.precisions[0]
        tasks = [Task(measurements.repeats, (workload, own, each)) for each in workload.precisions]
        if cuda:
            wanted = [(own, each, optimizer) for each in workload.precisions for optimizer in ("sgd", "adamw")]
            wanted += [(method, default, "sgd") for method in others]
            tasks += [Task(measurements.recorded_repeat, (workload, *each)) for each in wanted]
        tasks += [Task(measurements.repeats, (workload, method, default)) for method in others]
        return self._carry_out(tasks, self.found.checks, "settings")

    def steps(self) -> Iterator[str]:
        """Every method on every network, in every precision and mode: the quickest to prepare first."""
        workload = self.workload
        (own, *others), networks = workload.methods, workload.backbones
        pairs = [(own, network) for network in networks]
        pairs += [(each, network) for network in networks for each in others]
        tasks = []
        for mode in MODES:
            main = workload.main_run(mode)
            try:
                check_settings([main], workload.device)
            except InputError as error:
                # what the device does not have is said once
                self.found.speeds.append(measurements.unmeasured(main, mode, str(error)))
                continue
            least = COMPILATION_S if mode == "compiled" else 0.0
            for setting in [(*pair, precision, mode) for pair in pairs for precision in workload.precisions]:
                lacking = partial(measurements.unmeasured, workload.run(*setting), mode)
                tasks.append(Task(measurements.step_speed, (workload, *setting), least, lacking))
        return self._carry_out(tasks, self.found.speeds, "combinations")

    def parallel(self) -> Iterator[str]:
        """One, two, four and eight runs at the same time."""
        most = MOST_RUNS if self.found.kind == "cuda" else min(MOST_RUNS, usable_cpus())
        most = most if self.left > ROOM_S else 0
        for measured in measurements.together(self.workload, most, lambda: self.left):
            self.found.speeds.append(measured)
            self._write()
        numbers = MOST_RUNS.bit_length()
        if cut := numbers - sum(own.gain is not None for own in self.found.speeds):
            yield _cut(cut, numbers, "numbers of runs")


def _cut(cut: int, of: int, what: str) -> str:
    return f"{cut} of {of} {what} were cut: the time was too short"


def page(found: DeviceReport) -> str:
    """Return everything that was found as Markdown."""
    versions = ", ".join(f"{name} {number}" for name, number in found.versions.items() if number)
    text = [f"# {found.device}", f"`bench doctor --deep --minutes {found.minutes:g}` on {found.kind}; {versions}."]
    if found.kind == "cpu":
        text.append("There is no accelerator: networks and batches are small, and no rate is one of published runs.")
    tables: dict[str, Sequence[Found]] = {
        "": found.parts,
        "## Numbers\n\nThe difference from stored numbers is in float64 of three training steps, in fp32 of the first, "
        "in tf32 and bf16 of its cross-entropy. Other runs are compared bit for bit.": found.checks,
        "## Speed\n\nThe gain is of all runs at the same time relative to one alone, the matrix share of the rate of "
        "matrix products in that precision.": found.speeds,
    }
    for heading, rows in tables.items():
        if rows:
            cells = [{name.replace("_", " "): _text(value) for name, value in row} for row in rows]
            text += [heading, tabulate(cells, "keys", tablefmt="github", disable_numparse=True)]
    return "\n\n".join(filter(None, text)) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return "" if value is None else str(value)
