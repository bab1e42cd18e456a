"""``bench schedules``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.commands.options import Config, Plugins, as_path, say_notes
from benchmark.words import tell


def schedules(
    method: Annotated[str, typer.Option(help="Whose ramps and decays are drawn.")],
    config: Config = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting: dkel.ramp=none, dkel.decay=step.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Length of the run; 300 if nothing says otherwise.")] = None,
    out: Annotated[Path, typer.Option(parser=as_path, help="Where figure and table go.", metavar="DIR")] = Path(
        "results/schedules"
    ),
    plugin: Plugins = None,
) -> None:
    """Draw every ramp and decay of a configuration over the epochs, and say which loss terms are inactive."""
    from benchmark.configuration import layer_from_assignments, layer_from_file
    from benchmark.reports import schedules as method_schedules
    from benchmark.tables import frame_markdown
    from methods import registry

    plugins = tuple(plugin or ())
    broken = registry.broken_files(plugins)
    file_layer = [layer_from_file(config, plugins)] if config is not None else []
    flags: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
    found = method_schedules.resolve(method, [*file_layer, layer_from_assignments(set_ or ()) | flags], plugins)
    tell(*frame_markdown(found.summary(), index=False, disable_numparse=True).split("\n"))
    for line in found.remarks:
        tell(f"note: {method}: {line}")
    for path in method_schedules.write(found, out):
        tell(path)
    say_notes(broken)
