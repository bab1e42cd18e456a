"""What a person asks for: the layers of recipe, file and command line, each checked to be known."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark import paths
from benchmark.configuration import recipes, yaml_files
from benchmark.configuration.options import OPTIONS
from benchmark.configuration.run_config import SECTIONS, Origin
from methods import registry
from methods.errors import InputError, unknown

Layer = Mapping[str, Any]

DATA_ROOT = "data"
"""Where data sets lie if nothing is said."""


@dataclass(frozen=True)
class Request:
    """The layers of one command, weakest first below the data set's own recipe.

    Attributes:
        layers: The configuration file's keys and the command line's, each a mapping of keys to values.
        plugins: Python files that define further methods, backbones and data sets.
        data_root: Where data sets lie.
    """

    layers: Sequence[Layer]
    plugins: Sequence[str] = ()
    data_root: Path = field(default_factory=lambda: Path(DATA_ROOT))

    @property
    def origin(self) -> Origin:
        """Where the request comes from, as its runs remember it: the same from any folder."""
        usual = self.data_root == Path(DATA_ROOT)
        files = [str(paths.plugin_file(plugin)) for plugin in self.plugins]
        return Origin(plugins=files, data_root=None if usual else str(self.data_root.absolute()))

    def option(self, key: str) -> Any:
        """Return the strongest layer's value of a key of :data:`OPTIONS`, or its default.

        Raises:
            InputError: If it has another type, or is out of range.
        """
        return OPTIONS[key].checked(key, next((layer[key] for layer in reversed(self.layers) if key in layer), None))


def layer_from_file(name: str, plugins: Sequence[str] = ()) -> dict[str, Any]:
    """Return the keys of a configuration file, checked to be known."""
    content = recipes.read(recipes.find(name))
    if "space" in content:
        raise InputError(f"{name} describes a sweep: bench sweep {name}")
    check_keys(content, plugins)
    return content


def layer_from_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Return the layer that ``section.key=value`` words stand for; values are read as YAML.

    Raises:
        InputError: If a word has another form.
    """
    layer: dict[str, Any] = {}
    for word in assignments:
        key, equals, text = word.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (equals and dot and section and name):
            raise InputError(f"--set takes SECTION.KEY=VALUE, such as train.epochs=20 (given: {word!r})")
        layer.setdefault(section, {})[name] = yaml_files.parse(text, f"--set {word}")
    return layer


def check_keys(layer: Layer, plugins: Sequence[str] = ()) -> None:
    """Raise an InputError for a key that nothing reads, or a section that is no mapping."""
    for key, value in layer.items():
        if key in ("description", *OPTIONS):
            continue
        if key in SECTIONS or registry.known(key, plugins):
            if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
                raise InputError(f"{key} must hold keys and values, as in '{key}: {{key: value}}' (given: {value!r})")
            if key in SECTIONS:
                for name in value:
                    if name not in SECTIONS[key].model_fields:
                        raise unknown(f"key in {key!r}", name, SECTIONS[key].model_fields)
        else:
            raise unknown("key", key, {*OPTIONS, *SECTIONS, *registry.catalogue(plugins)})


def section(layers: Iterable[Layer], key: str) -> dict[str, Any]:
    """Return a section's values, the last layer's winning; ``epochs`` is short for a key of ``train``."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer.get(key, {})
        if key == "train" and "epochs" in layer:
            merged["epochs"] = layer["epochs"]
    return merged
