"""A request, the layers of recipe, file and command line, and the runs that it means, resolved."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import paths
from benchmark.configuration import options, recipes
from benchmark.configuration.code import Datasets, sources
from benchmark.configuration.options import DATA_ROOT
from benchmark.configuration.run_config import PLACE, SECTIONS, DataConfig, Origin, RunAlias, RunConfig, TrainConfig
from benchmark.metrics import refuse_taken
from methods import backbones, registry
from methods.errors import InputError, unknown
from methods.hyperparameters import validated

if TYPE_CHECKING:
    from methods.interface import Method

Layer = Mapping[str, Any]

MAX_RUNS = 100_000
"""Seeds at most, and runs of one dataset."""


def names(key: str, value: Any) -> list[str]:
    """Return the names in a text with commas or in a list, each once, or raise an InputError if there is none."""
    words = split(value) if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InputError(f"{key} takes names separated by commas (given: {value!r})")
    if stripped := dict.fromkeys(word.strip() for word in words if word.strip()):
        return list(stripped)
    raise InputError(f"{key} names nothing")


def split(text: str) -> list[str]:
    """Return the words between commas; one with a comma of its own is in quotes, as in ``"folder:a,b",digits``."""
    try:
        return next(csv.reader([text], skipinitialspace=True, strict=True), [])
    except csv.Error:
        return text.split(",")


def joined(words: Iterable[str]) -> str:
    """Return words as the text that :func:`split` reads."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(words)
    return line.getvalue()


def datasets_named(value: Any) -> list[str]:
    """Return the datasets of a value, paths in their plain form (``npz:./a`` is ``npz:a``), or raise an InputError."""
    found = []
    for name in names("dataset", value):
        form, _, place = name.partition(PLACE)
        # links decide what a step upwards means: those stay
        found.append(f"{form}{PLACE}{paths.written(place, 'dataset')}" if place.strip() else name)
    return list(dict.fromkeys(found))


_SEEDS = re.compile(r"\s*([0-9]{1,10})\s*(?:-\s*([0-9]{1,10})\s*)?")


def parse_seeds(value: Any) -> list[int]:
    """Return the seeds of 3 (0, 1, 2), of "0,4,7" or a list, "5," (5 alone) or "0-4" (five), or raise an InputError."""
    seeds = value
    if isinstance(value, str):
        found = [_SEEDS.fullmatch(word) for word in value.split(",") if word.strip()]
        ranges = [(int(one[1]), int(one[2] or one[1])) for one in found if one]
        if len(ranges) == len(found) and all(first <= last < first + MAX_RUNS for first, last in ranges):
            seeds = [seed for first, last in ranges for seed in range(first, last + 1)]
            if found and not re.search("[,-]", value):
                (seeds,) = seeds
    if type(seeds) is int and 1 <= seeds <= MAX_RUNS:
        return list(range(seeds))
    if isinstance(seeds, list) and seeds and all(type(seed) is int and 0 <= seed < 2**32 for seed in seeds):
        return list(dict.fromkeys(seeds))
    raise InputError(f"seeds takes how many (3) or which (0,4,7 or 0-4), each from 0 to {2**32 - 1} (given: {value!r})")


@dataclass(frozen=True)
class MethodEntry:
    """One of the methods of a command."""

    method: str
    name: str = ""  # its name in tables; empty for its own name
    train: Mapping[str, Any] = field(default_factory=dict)  # training settings of its own
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)  # the same, of the method


_COMMA = re.compile(r",(?![^\[({]*[\])}])")
_VARIANT = re.compile(r"\s*(?P<method>[^\s:]+)(?:\s+as\s+(?P<name>[^:]+?))?\s*:(?P<settings>.*)", re.DOTALL)


def parse_variant(word: Any) -> MethodEntry:
    """Return the entry of ``METHOD [as NAME]: KEY=VALUE, train.KEY=VALUE``, values in YAML, or raise an InputError."""
    problem = InputError(
        "--variant takes 'METHOD: KEY=VALUE, ...' or 'METHOD as NAME: ...', such as 'dkel: decay=none' "
        f"(given: {word!r})"
    )
    head = _VARIANT.fullmatch(word) if isinstance(word, str) else None
    if not head:
        raise problem
    settings: dict[str, Any] = {}
    for part in _COMMA.split(head["settings"]):
        key, equals, text = part.partition("=")
        key = key.strip().removeprefix(f"{head['method']}.")
        if not (equals and key.removeprefix("train.")) or key in settings:
            raise problem
        if key.startswith("data."):
            raise InputError(f"--variant {word}: all methods of a command see the same images: leave out {key}")
        settings[key] = recipes.parse_yaml(text.strip(), f"--variant {word}")
    name = (head["name"] or "").strip()
    if not re.fullmatch(r"[^,/\[\]\x00-\x1f]{0,60}", name):
        raise InputError(f"--variant {word}: 'as' takes a name without commas, slashes and brackets (given: {name!r})")
    train = {key.removeprefix("train."): settings.pop(key) for key in list(settings) if key.startswith("train.")}
    return MethodEntry(head["method"], name, train, settings)


@dataclass(frozen=True)
class Request:
    """The layers of one command, weakest first, above the dataset's own recipe."""

    layers: Sequence[Layer]  # the configuration file's keys and the command line's, each a mapping of keys to values
    plugins: Sequence[str] = ()  # Python files that define further methods, backbones and datasets
    data_root: Path = field(default_factory=lambda: Path(DATA_ROOT))

    @property
    def origin(self) -> Origin:
        """The paths of the request, as its runs record them: the same from any folder."""
        usual = self.data_root == Path(DATA_ROOT)
        files = [str(paths.plugin_file(plugin)) for plugin in self.plugins]
        return Origin(plugins=files, data_root=None if usual else str(self.data_root.absolute()))

    def option(self, key: str) -> Any:
        """Return the strongest layer's value of a key of :data:`OPTIONS`, checked, or its default."""
        given = [layer[key] for layer in self.layers if key in layer]
        return options.OPTIONS[key].checked(key, given[-1] if given else None)


def layer_from_file(name: str, plugins: Sequence[str] = ()) -> dict[str, Any]:
    """Return the keys of a configuration file, checked to be known."""
    content = recipes.read(recipes.find(name))
    if "space" in content:
        raise InputError(f"{name} describes a sweep: bench sweep {name}")
    check_keys(content, plugins)
    return content


def layer_from_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Return the layer of ``section.key=value`` words, values in YAML, or raise an InputError for another form."""
    layer: dict[str, Any] = {}
    for word in assignments:
        key, equals, text = word.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (equals and dot and section and name):
            raise InputError(f"--set takes SECTION.KEY=VALUE, such as train.epochs=20 (given: {word!r})")
        layer.setdefault(section, {})[name] = recipes.parse_yaml(text, f"--set {word}")
    return layer


def check_keys(layer: Layer, plugins: Sequence[str] = ()) -> None:
    """Raise an InputError for a key that nothing reads, or a section that is no mapping."""
    for key, value in layer.items():
        if key in ("description", *options.OPTIONS):
            continue
        if key not in SECTIONS and not registry.known(key, plugins):
            raise unknown("key", key, {*options.OPTIONS, *SECTIONS, *registry.catalogue(plugins)})
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise InputError(f"{key} must hold keys and values, as in '{key}: {{key: value}}' (given: {value!r})")
        for name in value if key in SECTIONS else ():
            if name not in SECTIONS[key].model_fields:
                raise unknown(f"key in {key!r}", name, SECTIONS[key].model_fields)


def section(layers: Iterable[Layer], key: str) -> dict[str, Any]:
    """Return a section's values, the last layer's winning; ``epochs`` is short for a key of ``train``."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer.get(key, {})
        if key == "train" and "epochs" in layer:
            merged["epochs"] = layer["epochs"]
    return merged


Checksums = dict[tuple[str, DataConfig], str]


def plan(request: Request, datasets: Datasets, checksums: Checksums | None = None) -> list[RunConfig]:
    """Return the runs of :func:`expanded`, those of one identity once."""
    return distinct(expanded(request, datasets, checksums))


def expanded(request: Request, datasets: Datasets, checksums: Checksums | None = None) -> list[RunConfig]:
    """Return the runs that a request means, resolved, in the order datasets, methods, backbones, seeds.

    Two names for the same numbers are two runs here, so that requests that differ in their epochs alone expand to runs
    in the same places.

    Args:
        checksums: Those that are known; the dictionary is added to, so that many plans read the files once.

    Raises:
        InputError: For anything that is unknown or out of range, before anything is run.
    """
    for layer in request.layers:
        check_keys(layer, request.plugins)
    known = {} if checksums is None else checksums
    names = datasets_named(request.option("dataset"))
    runs = [run for name in names for run in _plan_dataset(request, name, datasets, known)]
    # a file may hold sections for methods of other runs; on the command line that is a slip
    used = {*options.OPTIONS, *SECTIONS, *(run.method for run in runs)}
    for key, value in request.layers[-1].items():
        if isinstance(value, dict) and key not in used:
            raise InputError(f"--set {key}.{next(iter(value))}: {key!r} is not among the methods of this run")
    return runs


def distinct(runs: Iterable[RunConfig]) -> list[RunConfig]:
    """Return the runs of one identity once, with all names that they were asked for under."""
    found: dict[str, RunConfig] = {}
    for run in runs:
        other = found.get(run.identity)
        found[run.identity] = run if other is None else other.also(run.uses)
    return list(found.values())


def _plan_dataset(request: Request, name: str, datasets: Datasets, checksums: Checksums) -> list[RunConfig]:
    plugins = request.plugins
    scoped = Request((layer_from_file(datasets.recipe(name, plugins), plugins), *request.layers), plugins)
    chosen = _entries(scoped)
    architectures = names("backbone", scoped.option("backbone"))
    seeds = parse_seeds(scoped.option("seeds"))
    if len(chosen) * len(architectures) * len(seeds) > MAX_RUNS:
        raise InputError(f"more than {MAX_RUNS:,} runs of {name}: ask for fewer seeds")
    settings = section(scoped.layers, "train")
    train = _train_config(settings)
    data = validated(DataConfig, section(scoped.layers, "data"), "data")
    # before a method is imported, and torch with it: a dataset that is refused takes no memory for that
    if (name, data) not in checksums:
        checksums[name, data] = datasets.checksum(name, data, request.data_root, plugins)
    if data.mix != "none":
        _check_mixing([entry.method for entry in chosen], data.mix, plugins)
    for part in dict.fromkeys(part for architecture in architectures for part in architecture.split("+")):
        backbones.describe(part, plugins)
    runs = []
    for entry in chosen:
        cls = registry.load(entry.method, plugins)
        refuse_taken(entry.method, cls.metrics)
        if entry.name not in ("", entry.method) and registry.known(entry.name, plugins):
            raise InputError(f"{entry.method} cannot be called {entry.name!r}: that is another method's name")
        own = _train_config({**settings, **entry.train}) if entry.train else train
        given = {**section(scoped.layers, entry.method), **entry.hyperparameters}
        for architecture in architectures:
            code = sources(entry.method, name, architecture, plugins, datasets)
            resolved = registry.resolve(cls, given, architecture.split("+"), own.epochs)
            hyperparameters = resolved.stored()
            run = RunConfig(
                method=entry.method,
                dataset=name,
                backbone=architecture,
                seed=seeds[0],
                train=own,
                data=data,
                hyperparameters=hyperparameters,
                method_version=resolved.stored_version(cls.version),
                dataset_checksum=checksums[name, data],
                files=_hash_files(cls, hyperparameters),
                sources={role: source.hash for role, source in code.items()},
                uses=_uses(entry, train, own),
                origin=request.origin,
            )
            runs += [run.model_copy(update={"seed": seed}) for seed in seeds]
    return runs


def _train_config(settings: Mapping[str, Any]) -> TrainConfig:
    """Return the checked settings of training; milestones that are whole epochs become shares of the run."""
    milestones, epochs = settings.get("milestones"), settings.get("epochs", TrainConfig.model_fields["epochs"].default)
    given = milestones if isinstance(milestones, list) and type(epochs) is int else [None]
    if all(type(milestone) is int and 1 < milestone < epochs for milestone in given):
        settings = {**settings, "milestones": [milestone / epochs for milestone in given]}
    elif any(isinstance(milestone, int | float) and not 0 < milestone < 1 for milestone in given):
        valid = f"shares of the run, such as [0.5, 0.75], or whole epochs above 1 and below train.epochs, {epochs}"
        raise InputError(f"train.milestones takes {valid} (given: {milestones})")
    train = validated(TrainConfig, settings, "train")
    if "nesterov" not in train.unused() and train.nesterov and train.momentum == 0:
        raise InputError("train.momentum must be above 0 for Nesterov's form: set train.nesterov=false")
    if train.warmup_epochs >= max(1, train.epochs):
        below = f"train.warmup_epochs must be below train.epochs, {train.epochs}"
        raise InputError(f"{below} (given: {train.warmup_epochs:g})")
    return train


def _entries(request: Request) -> list[MethodEntry]:
    """Return the methods of a command: those named, or all; and the variants, with the plain methods beside them."""
    given = {key for layer in request.layers for key in layer}
    variants = request.option("variants") if "variants" in given else []
    if not isinstance(variants, list) or ("variants" in given and not variants):
        raise InputError(f"variants takes a list of words such as 'dkel: decay=none' (given: {variants!r})")
    added = list(map(parse_variant, variants))
    if "methods" in given:
        named = names("methods", request.option("methods"))
    else:
        named = [entry.method for entry in added] or complete_methods(request)
    # none twice
    entries = [*(MethodEntry(name) for name in named), *added]
    return [entry for place, entry in enumerate(entries) if entry not in entries[:place]]


def _check_mixing(methods: Iterable[str], mix: str, plugins: Sequence[str]) -> None:
    refusing = [name for name in dict.fromkeys(methods) if registry.load(name, plugins).mixed_labels is False]
    if refusing:
        usable = [name for name, item in registry.catalogue(plugins).items() if not item.broken]
        taking = [name for name in usable if registry.load(name, plugins).mixed_labels]
        raise InputError(
            f"data.mix={mix} does not go with {', '.join(refusing)}, which must know every image's one class "
            f"(methods that take mixed labels: {', '.join(taking)})"
        )


def _uses(entry: MethodEntry, common: TrainConfig, own: TrainConfig) -> list[RunAlias]:
    usual, mine = common.model_dump(mode="json"), own.model_dump(mode="json")
    instead = {key: usual[key] for key in entry.train if usual[key] != mine[key]}
    name = "" if entry.name == entry.method else entry.name
    return [RunAlias(name=name, train=instead, chosen=dict(entry.hyperparameters))] if name or instead else []


def complete_methods(request: Request) -> list[str]:
    """Return the methods for which a person has given all that has no default, such as a teacher's weights."""
    found = []
    for name in (name for name, item in registry.catalogue(request.plugins).items() if not item.broken):
        model = getattr(registry.load(name, request.plugins), "Hyperparameters", None)
        fields = getattr(model, "model_fields", {}).items()
        if {key for key, field in fields if field.is_required()} <= section(request.layers, name).keys():
            found.append(name)
    return found


def _hash_files(method: "type[Method]", hyperparameters: dict[str, Any]) -> dict[str, str]:
    """Make the paths of files absolute, in place, and return the hash of each file's content."""
    hashes = {}
    for key in method.Hyperparameters.files():
        path = paths.written(hyperparameters[key], f"{method.name}.{key}")
        try:
            hyperparameters[key] = str(path := path.resolve())
            hashes[key] = sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise InputError(f"{method.name}.{key}: cannot read {path}: {error.strerror}") from None
    return hashes
