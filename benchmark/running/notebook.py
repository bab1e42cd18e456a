"""What ``benchmark.run`` does: the steps of ``bench run``, with the runs' table as its value."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.configuration import OPTIONS, SECTIONS, layer_from_file
from benchmark.consoles import new_console
from benchmark.errors import TimeIsUpError
from benchmark.running.carrying_out import carry_out
from benchmark.running.command import prepare
from benchmark.store import load
from benchmark.words import say
from methods import registry
from methods.errors import InputError, unknown


def run(
    words: Mapping[str, Any],
    config: str | Path | None,
    settings: Mapping[str, Any],
    plugins: str | Path | Sequence[str | Path],
    force: bool,
    quiet: bool,
) -> pd.DataFrame:
    """Carry out what is missing and return the runs; the arguments are those of :func:`benchmark.run`."""
    files = (str(plugins),) if isinstance(plugins, str | Path) else tuple(str(plugin) for plugin in plugins)
    for key in words:
        if key not in (*OPTIONS, *SECTIONS) and not registry.known(key, files):
            others = ("config", "settings", "plugins", "force", "quiet")
            raise unknown("argument", key, {*OPTIONS, *SECTIONS, *others, *registry.catalogue(files)})
    layers = [layer_from_file(str(config), files)] if config else []
    given = {key: _plain(value) for key, value in words.items() if value is not None}
    command = prepare([*layers, _nested(settings) | given], files, force, fetch=True)
    console = new_console(quiet=quiet)
    try:
        carry_out(command, console)
    except TimeIsUpError as error:
        say(console, f"{error}; the same call goes on")
    names = {command.store.folder(run).name for run in command.runs}
    frame = load(command.store.root, where={"run": names}, split="all")
    return frame.dropna(axis="columns", how="all").reset_index(drop=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple | range) else value


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    sections: dict[str, Any] = {}
    for key, value in settings.items():
        section, dot, name = key.partition(".")
        if not (dot and section and name):
            raise InputError(f"settings are named as in {{'train.lr': 0.05}} (given: {key!r})")
        sections.setdefault(section, {})[name] = _plain(value)
    return sections
