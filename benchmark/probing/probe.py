"""A deep look at a machine: six parts, each with its share of the time, each written as soon as it is known."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmark.probing import reference
from benchmark.probing.cell import cell
from benchmark.probing.clock import Clock
from benchmark.probing.feeding import feeding
from benchmark.probing.page import page
from benchmark.probing.records import Mode, Part, Precision, Probe
from benchmark.probing.repeating import repeats
from benchmark.probing.sharing import Crowd, counts
from benchmark.probing.steps import Steps
from benchmark.probing.subject import Subject
from benchmark.store import check_folder, environment, put
from benchmark.training import choose_device

PARTS: dict[str, float] = {
    "stored losses and trajectories": 0.14,
    "the same bits again, and resumed": 0.28,
    "training steps": 0.66,
    "runs side by side": 0.86,
    "augmentation and evaluation": 0.96,
    "a cell of the table": 1.0,
}
"""The parts, and the share of the time by which each has to end."""

USED = 0.93
"""Of the time that is given."""

ROOM_S = 45.0
"""Below which some parts may come away empty, and no processes are started, which would not be ready in time."""

JSON, PAGE = "doctor.json", "doctor.md"

Notes = Iterator[str]
"""What a part says of what was cut, as it goes."""


def deep(minutes: float, folder: Path, device_name: str = "auto", say: Callable[[str], None] = print) -> Probe:
    """Measure a machine, and write ``doctor.json`` and ``doctor.md`` after every measurement.

    Args:
        minutes: That all of it may take; parts that do not fit are cut and say so.
        folder: Where the files are written.
        device_name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        say: Is given a line at the end of each part.

    Raises:
        InputError: If the device is not there.
    """
    # what is under way when the time is over still ends
    clock = Clock(60 * minutes * USED)
    device = choose_device(device_name)
    subject = Subject.of(device)
    found = Probe(
        device=environment.device_name(str(device)),
        kind=device.type,
        versions=environment.versions(),
        minutes=minutes,
        small=subject.small,
        parts=[Part(title=title) for title in PARTS],
    )
    check_folder(folder)
    work = _Work(subject, found, clock)
    measurements = (work.agreements, work.repeats, work.steps, work.together, work.feeding, work.cell)
    try:
        _measure(found, folder, clock, measurements, say)
    finally:
        work.close()
    return found


def _measure(
    found: Probe, folder: Path, clock: Clock, measurements: Sequence[Callable[[], Notes]], say: Callable[[str], None]
) -> None:
    for part, until, measure in zip(found.parts, PARTS.values(), measurements, strict=True):
        clock.part(until)
        begin = time.perf_counter()
        try:
            for note in measure():
                if note:
                    part.notes.append(note)
                part.ending = "cut" if part.notes else "complete"
                _write(found, folder, clock)
        except Exception as error:
            # whatever goes wrong in one part, the others are measured
            part.ending = "failed"
            part.notes.append(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
        part.seconds = time.perf_counter() - begin
        _write(found, folder, clock)
        say(f"{part.title}: {part.ending} ({part.seconds:.1f} s)")
        for note in part.notes:
            say(f"  {note}")


def _crowd(subject: Subject) -> Crowd:
    run = subject.run(subject.methods[0], subject.backbones[0], subject.precisions[0], "eager")
    return Crowd(run, subject.shape, subject.device, 8 if subject.device.type == "cuda" else min(8, _cores()))


def _write(found: Probe, folder: Path, clock: Clock) -> None:
    found.seconds = clock.elapsed
    put(folder / JSON, found.model_dump_json(indent=1) + "\n")
    put(folder / PAGE, page(found))


class _Work:
    """The six parts: each adds to what was found, and yields after every measurement what was cut, or nothing."""

    def __init__(self, subject: Subject, found: Probe, clock: Clock) -> None:
        self.subject = subject
        self.crowd: Crowd | None = None
        self.found = found
        self.clock = clock
        self.speeds = Steps(subject)

    def close(self) -> None:
        """End the processes, if there are any."""
        if self.crowd is not None:
            self.crowd.close()

    @property
    def roomy(self) -> bool:
        """Whether there is time for something of every part."""
        return self.clock.limit >= ROOM_S

    def agreements(self) -> Notes:
        """Stored losses and trajectories, in every arithmetic of the device."""
        stored, device = reference.read(), self.subject.device
        self.found.agreements += reference.loss_agreements(device, stored)
        yield ""
        arithmetics = ["float64", "fp32", *(name for name in self.subject.precisions if name != "fp32")]
        # the table's own method first
        known = [method for method in self.subject.methods if method in stored["trajectories"]]
        wanted = [(method, own) for method in known for own in arithmetics]
        took = 0.0
        for number, (method, arithmetic) in enumerate(wanted):
            if (number or not self.roomy) and not self.clock.allows(took):
                yield _cut(len(wanted) - number, len(wanted), "trajectories")
                return
            begin = time.perf_counter()
            self.found.agreements.append(reference.trajectory_agreement(device, stored, method, arithmetic))
            took = time.perf_counter() - begin
            yield ""

    def repeats(self) -> Notes:
        """Runs again and resumed, of the table's own method in every setting, then of the others."""
        # its processes get ready while nothing is timed
        self.crowd = _crowd(self.subject) if self.roomy else None
        modes: list[Mode] = ["eager", "graph"] if self.subject.device.type == "cuda" else ["eager"]
        own, *others = self.subject.methods
        wanted: list[tuple[str, Precision, Mode]] = [
            (own, precision, mode) for mode in modes for precision in self.subject.precisions
        ]
        wanted += [(method, self.subject.precisions[0], "eager") for method in others]
        took = 3.0
        for number, (method, precision, mode) in enumerate(wanted):
            if (number or not self.roomy) and not self.clock.allows(took):
                yield _cut(len(wanted) - number, len(wanted), "settings")
                return
            begin = time.perf_counter()
            self.found.repeats += repeats(self.subject, method, precision, mode)
            took = time.perf_counter() - begin
            yield ""

    def steps(self) -> Notes:
        """Every method on every network, in every precision and mode: the quickest to prepare first."""
        subject = self.subject
        pairs = [(subject.methods[0], network) for network in subject.backbones]
        pairs += [(method, network) for network in subject.backbones for method in subject.methods[1:]]
        wanted = [(*pair, own, mode) for mode in subject.modes for pair in pairs for own in subject.precisions]
        # what the device has not is said once
        refused = {mode: found for mode in subject.modes if (found := self.speeds.refused(mode)) is not None}
        self.found.steps += refused.values()
        yield ""
        wanted = [own for own in wanted if own[-1] not in refused]
        left = 0
        # networks for which the time is too short: counting operations takes time itself
        large: set[tuple[str, Mode]] = set()
        for number, (method, network, precision, mode) in enumerate(wanted):
            if number or not self.roomy:
                fits = (network, mode) not in large and self.clock.allows(self.speeds.preparation(mode))
                if not fits or not self.clock.allows(self.speeds.foretold(method, network, precision, mode)):
                    large.add((network, mode))
                    left += 1
                    continue
            measured = self.speeds.measured(method, network, precision, mode)
            self.found.steps.append(measured)
            self.found.matrix_gflop_per_s = self.speeds.matrix_rates
            yield ""
        if left:
            yield _cut(left, len(wanted), "combinations")

    def together(self) -> Notes:
        """One, two, four and eight runs side by side."""
        wanted = list(counts(8))
        if self.crowd is not None:
            for count in counts(self.crowd.wait(max(0.0, self.clock.left - 2.0))):
                seconds = min(3.0, self.clock.left / 4)
                if seconds <= 0.1 or (measured := self.crowd.together(count, seconds)) is None:
                    break
                self.found.together.append(measured)
                yield ""
            self.close()
        if len(self.found.together) < len(wanted):
            yield _cut(len(wanted) - len(self.found.together), len(wanted), "numbers of runs")

    def feeding(self) -> Notes:
        """Augmentation and evaluation of the table's own method, then of the others."""
        subject = self.subject
        took = 2.0
        for number, method in enumerate(subject.methods):
            if not self.clock.allows(took):
                yield _cut(len(subject.methods) - number, len(subject.methods), "methods")
                return
            begin = time.perf_counter()
            self.found.feeding.append(feeding(subject, method, subject.backbones[0], subject.precisions[0]))
            took = time.perf_counter() - begin
            yield ""

    def cell(self) -> Notes:
        """The time of a cell, from what was measured."""
        if not any(step.images_per_s for step in self.found.steps):
            yield "no training step was measured"
            return
        self.found.cell = cell(self.subject, self.found.steps, self.found.together, self.found.feeding)
        yield ""


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cut(cut: int, of: int, what: str) -> str:
    return f"{cut} of {of} {what} were cut for want of time"
