"""Predictions of runs that were finished before anybody asked for them."""

from collections.abc import Sequence

from benchmark import datasets
from benchmark.configuration import LogitsType, RunConfig
from benchmark.consoles import Console
from benchmark.running.command import Command
from benchmark.store import PREDICTIONS, Status, students_files, write_predictions
from benchmark.words import say
from methods.errors import InputError


def keep_predictions(command: Command, console: Console) -> None:
    """Make predictions from the saved students of finished runs that have none; say what cannot be had so."""
    if command.predictions is None:
        return
    without = [run for run in command.runs if _finished(command, run) and not _kept(command, run)]
    lost = [run for run in without if not students_files(command.store.folder(run))]
    made = [run for run in without if run not in lost and _made(command, run, command.predictions, console)]
    if made:
        say(
            console,
            f"{_were(made)} finished already: predictions made from the saved students, without ensembles and "
            "teachers (--force trains anew and keeps them all)",
        )
    if lost:
        say(
            console,
            f"{_were(lost)} finished without predictions or saved students: --force trains anew and keeps predictions",
        )


def _finished(command: Command, run: RunConfig) -> bool:
    ended = command.store.final_result(run)
    return ended is not None and ended.status is Status.FINISHED


def _kept(command: Command, run: RunConfig) -> bool:
    return (command.store.folder(run) / PREDICTIONS).is_file()


def _made(command: Command, run: RunConfig, kept_as: LogitsType, console: Console) -> bool:
    """Make a run's predictions from its students; return whether that was possible, and say why if not."""
    from benchmark.training import choose_device, predictions_of_students

    folder = command.store.folder(run)
    try:
        with command.store.lock(run, patience=0) as held:
            if held:
                dataset = datasets.load(run.dataset, run.data, command.data_root, command.plugins)
                device = choose_device(command.device)
                found = predictions_of_students(folder, run, dataset, device, command.plugins)
                write_predictions(folder, found, kept_as)
                return True
        reason = "another command works on it"
    except InputError as error:
        reason = str(error)
    except OSError as error:
        reason = error.strerror or "they cannot be written"
    say(console, f"note: no predictions of {run.label}: {reason}")
    return False


def _were(runs: Sequence[RunConfig]) -> str:
    return "1 run was" if len(runs) == 1 else f"{len(runs)} runs were"
