"""``bench doctor --deep``: six parts, each with its share of the time, each written as soon as it is known."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmark.hardware import measurements, reference
from benchmark.hardware.measurements import Workload
from benchmark.hardware.parallel import ParallelRuns, PartProcess, powers_of_two
from benchmark.hardware.report import DeviceReport, Mode, Part, StepSpeed, page
from benchmark.store import check_folder, environment, put
from benchmark.training import choose_device
from benchmark.training.devices import Precision
from benchmark.training.machine_record import Machine, MachineRecord, recording_key
from methods.errors import InputError

PARTS: dict[str, float] = {
    "stored losses and trajectories": 0.14,
    "the same bits again, resumed and recorded": 0.32,
    "training steps": 0.68,
    "runs at the same time": 0.87,
    "augmentation and evaluation": 0.96,
    "the published runs": 1.0,
}
"""The parts, and the share of the time by which each has to end."""

USED = 0.93
"""Of the time that is given: what is under way when it is over still ends."""

ROOM_S = 45.0
"""Below which some parts may find nothing, and no runs are started at the same time, which would not be ready."""

COMPILATION_S = 45.0
"""Of a network, about."""

PROCESS_S = 5.0
"""That a process takes to start, about."""

JSON, PAGE = "doctor.json", "doctor.md"

Notes = Iterator[str]
"""What a part says of what was cut, as it goes."""


def deep(minutes: float, folder: Path, device_name: str = "auto", say: Callable[[str], None] = print) -> DeviceReport:
    """Measure a machine: write ``doctor.json`` and ``doctor.md`` after every measurement, and its record at the end.

    Args:
        minutes: That all of it may take; parts that do not fit are cut and say so.
        folder: Where the files are written.
        device_name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        say: Is given a line at the end of each part.

    Raises:
        InputError: If the device is not there.
    """
    device = choose_device(device_name)
    check_folder(folder)
    doctor = _Doctor(Workload.of(device), minutes, folder)
    try:
        doctor.measure(say)
    finally:
        doctor.close()
    record = machine_record(Machine.of(device), doctor.workload, doctor.found)
    if record is not None:
        try:
            record.write()
            say(f"{record.machine.file}: what runs on this machine are trained by")
        except InputError as error:
            say(f"the machine's record was not written: {error}")
    return doctor.found


def machine_record(machine: Machine, workload: Workload, found: DeviceReport) -> MachineRecord | None:
    """Return what of a report later runs are trained by; None if it has nothing of that."""
    recorded: dict[str, dict[str, bool]] = {}
    for repeat in found.repeats:
        if repeat.what == "recorded" and repeat.refusal is None:
            of_setting = recorded.setdefault(recording_key(repeat.precision, repeat.optimizer), {})
            of_setting[repeat.method] = repeat.differs is None
    method, backbone, precision = workload.methods[0], workload.backbones[0], workload.precisions[0]
    rates = {
        (own.precision, own.mode): own.images_per_s.median
        for own in found.steps
        if (own.method, own.backbone) == (method, backbone) and own.images_per_s is not None
    }
    settings: dict[str, tuple[Precision, Mode]] = {
        "graph": (precision, "graph"),
        "bf16": ("bf16", "eager"),
        "compile": (precision, "compiled"),
    }
    plain = rates.get((precision, "eager"))
    gains = {name: rates[setting] / plain for name, setting in settings.items() if plain and setting in rates}
    best = max(found.parallel, key=lambda own: own.gain, default=None)
    if best is not None:
        gains["parallel"] = best.gain
    if not recorded and not gains:
        return None
    return MachineRecord(
        machine=machine,
        workload=f"{method}, {backbone}, batch {workload.batch_size}",
        recorded=recorded,
        runs_per_device=best.runs if best else 1,
        gains=gains,
    )


class Deadline:
    """Counts down to the end of a part and of the whole.

    Attributes:
        limit: Seconds of the whole.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._begun = time.perf_counter()
        self._until = limit

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._begun

    @property
    def left(self) -> float:
        """Seconds left of the part; none or less once it is over."""
        return self._until - self.elapsed

    def begin_part(self, until: float) -> None:
        """Begin a part that ends at a share of the whole, in 0..1: what an earlier one left over is its own."""
        self._until = until * self.limit


class _Doctor:
    """The six parts: each adds to what was found, and yields after every measurement what was cut, or nothing."""

    def __init__(self, workload: Workload, minutes: float, folder: Path) -> None:
        self.workload = workload
        self.folder = folder
        self.deadline = Deadline(60 * minutes * USED)
        self.process = PartProcess()
        self.runs: ParallelRuns | None = None
        self.found = DeviceReport(
            device=environment.device_name(str(workload.device)),
            kind=workload.device.type,
            versions=environment.versions(),
            minutes=minutes,
            small=workload.small,
            parts=[Part(title=title) for title in PARTS],
        )

    def close(self) -> None:
        """End the processes."""
        self.process.close()
        if self.runs is not None:
            self.runs.close()
            self.runs = None

    @property
    def roomy(self) -> bool:
        """Whether there is time for something of every part."""
        return self.deadline.limit >= ROOM_S

    def measure(self, say: Callable[[str], None]) -> None:
        """Carry out all parts: whatever goes wrong in one, the others are measured."""
        measures = (self.agreements, self.repeats, self.steps, self.parallel, self.overheads, self.published)
        for part, until, measure in zip(self.found.parts, PARTS.values(), measures, strict=True):
            self.deadline.begin_part(until)
            begin = time.perf_counter()
            try:
                for note in measure():
                    if note:
                        part.notes.append(note)
                    part.status = "cut" if part.notes else "complete"
                    self._write()
            except Exception as error:
                part.status = "failed"
                part.notes.append(_first_line(error))
            self.process.close()
            part.seconds = time.perf_counter() - begin
            self._write()
            say(f"{part.title}: {part.status} ({part.seconds:.1f} s)")
            for note in part.notes:
                say(f"  {note}")

    def _write(self) -> None:
        self.found.seconds = self.deadline.elapsed
        put(self.folder / JSON, self.found.model_dump_json(indent=1) + "\n")
        put(self.folder / PAGE, page(self.found))

    def _while_time(self, wanted: Sequence[Any], measure: Callable[[Any], None], what: str, first_s: float) -> Notes:
        """Measure one after the other while the next, if it takes as long as the last, still ends within the part."""
        took = first_s
        for number, one in enumerate(wanted):
            if (number or not self.roomy) and took > self.deadline.left:
                yield _cut(len(wanted) - number, len(wanted), what)
                return
            begin = time.perf_counter()
            measure(one)
            took = time.perf_counter() - begin
            yield ""

    def agreements(self) -> Notes:
        """Stored losses and trajectories, in every arithmetic of the device, the table's own method first."""
        device, stored = self.workload.device, reference.read()
        self.found.agreements += self.process(reference.loss_agreements, device, stored)
        yield ""

        def measure(wanted: tuple[str, str]) -> None:
            self.found.agreements.append(self.process(reference.trajectory_agreement, device, stored, *wanted))

        known = [method for method in self.workload.methods if method in stored["trajectories"]]
        arithmetics = dict.fromkeys(("float64", "fp32", *self.workload.precisions))
        wanted = [(method, arithmetic) for method in known for arithmetic in arithmetics]
        yield from self._while_time(wanted, measure, "trajectories", 1.0)

    def repeats(self) -> Notes:
        """Runs again and resumed, and with recorded steps where the device has them: the table's own method first."""
        # its processes get ready while nothing is timed
        if self.roomy:
            count = 8 if self.workload.device.type == "cuda" else min(8, _cores())
            run, device = self.workload.main_run(), str(self.workload.device)
            self.runs = ParallelRuns(run, self.workload.shape, device, count)
        default, own = self.workload.precisions[0], self.workload.methods[0]
        wanted: list[tuple[str, Precision, str | None]] = [(own, each, None) for each in self.workload.precisions]
        if self.workload.device.type == "cuda":
            wanted += [(own, each, optimizer) for each in self.workload.precisions for optimizer in ("sgd", "adamw")]
            wanted += [(method, default, "sgd") for method in self.workload.methods[1:]]
        wanted += [(method, default, None) for method in self.workload.methods[1:]]

        def measure(one: tuple[str, Precision, str | None]) -> None:
            method, precision, optimizer = one
            if optimizer is None:
                self.found.repeats += self.process(measurements.repeats, self.workload, method, precision)
            else:
                repeat = self.process(measurements.recorded_repeat, self.workload, method, precision, optimizer)
                self.found.repeats.append(repeat)

        yield from self._while_time(wanted, measure, "settings", 3.0)

    def steps(self) -> Notes:
        """Every method on every network, in every precision and mode: the quickest to prepare first."""
        workload = self.workload
        modes: tuple[Mode, ...] = ("eager", "graph", "compiled")
        # what the device does not have is said once
        refused = {mode: found for mode in modes if (found := measurements.refused_mode(workload, mode)) is not None}
        self.found.steps += refused.values()
        yield ""
        main = [(workload.methods[0], network) for network in workload.backbones]
        pairs = [*main, *((method, network) for network in workload.backbones for method in workload.methods[1:])]
        wanted: list[tuple[str, str, Precision, Mode]] = [
            (*pair, precision, mode)
            for mode in modes
            if mode not in refused
            for pair in pairs
            for precision in workload.precisions
        ]
        # what a step of the network took in this mode: of one that was not measured yet, twice the longest so far
        took: dict[tuple[str, Mode], float] = {}
        left = 0
        for number, (method, network, precision, mode) in enumerate(wanted):
            unknown = 2 * max(took.values(), default=PROCESS_S) + (COMPILATION_S if mode == "compiled" else 0.0)
            if (number or not self.roomy) and took.get((network, mode), unknown) > self.deadline.left:
                left += 1
                continue
            begin = time.perf_counter()
            self.found.steps.append(self._step(method, network, precision, mode))
            took[network, mode] = time.perf_counter() - begin
            yield ""
        if left:
            yield _cut(left, len(wanted), "combinations")

    def _step(self, method: str, network: str, precision: Precision, mode: Mode) -> StepSpeed:
        rates = self.found.matrix_gflop_per_s
        if precision not in rates:
            rate = self.process(measurements.matrix_flop_per_s, self.workload.device, precision)
            self.found.matrix_gflop_per_s = rates | {precision: rate / 1e9}
        try:
            return self.process(measurements.step_speed, self.workload, method, network, precision, mode)
        except Exception as error:
            run = self.workload.run(method, network, precision, mode)
            return measurements.no_speed(run, mode, _first_line(error))

    def parallel(self) -> Notes:
        """One, two, four and eight runs at the same time."""
        if self.runs is not None:
            for count in powers_of_two(self.runs.wait(max(0.0, self.deadline.left - 2.0))):
                seconds = min(3.0, self.deadline.left / 4)
                if seconds <= 0.1 or (measured := self.runs.measure(count, seconds)) is None:
                    break
                self.found.parallel.append(measured)
                yield ""
            self.runs.close()
            self.runs = None
        wanted = len(list(powers_of_two(8)))
        if len(self.found.parallel) < wanted:
            yield _cut(wanted - len(self.found.parallel), wanted, "numbers of runs")

    def overheads(self) -> Notes:
        """Augmentation and evaluation of the table's own method, then of the others."""
        workload = self.workload

        def measure(method: str) -> None:
            setting = workload.backbones[0], workload.precisions[0]
            self.found.overheads.append(self.process(measurements.epoch_overheads, workload, method, *setting))

        if self.deadline.left < PROCESS_S:
            yield _cut(len(workload.methods), len(workload.methods), "methods")
        else:
            yield from self._while_time(workload.methods, measure, "methods", PROCESS_S)

    def published(self) -> Notes:
        """The time of the published runs, from what was measured."""
        found = self.found
        if any(step.images_per_s for step in found.steps):
            found.published = measurements.published_time(self.workload, found.steps, found.parallel, found.overheads)
            yield ""
        else:
            yield "no training step was measured"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cut(cut: int, of: int, what: str) -> str:
    return f"{cut} of {of} {what} were cut for want of time"


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
