"""A sweep: a space around one method on one dataset, the runs of each configuration, and the question it answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from benchmark import datasets, running
from benchmark.configuration import (
    SECTIONS,
    SWEEP_OPTIONS,
    TRIALS,
    Checksums,
    DataConfig,
    FieldRole,
    Layer,
    Request,
    RunConfig,
    check_keys,
    plan,
    recipes,
)
from benchmark.sweeps.space import Assignment, Space, described, distinct, parse_space
from methods import registry
from methods.errors import InputError, unknown
from methods.hyperparameters import BaseHyperparameters, validated

KEYS = ("space", "controls", "question", *SWEEP_OPTIONS)
"""The keys of a sweep's file beside those of a configuration file."""

REDUCTION = 3  # ASHA continues the best third of the configurations at each rung
RUNGS = 2  # they are at a ninth and a third of the epochs

HOLDOUT = 0.2
BOUND = 0.5  # points of accuracy within which two configurations are equivalent, where a sweep does not say which


class Question(BaseModel):
    """Whether the values of a key differ from those that are its references."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    key: str
    against: Annotated[
        tuple[Any, ...], Field(min_length=1), BeforeValidator(lambda x: tuple(x) if isinstance(x, list) else (x,))
    ]
    within: float = Field(BOUND, gt=0, allow_inf_nan=False, description="points that are no difference")


@dataclass(frozen=True)
class Configuration:
    """One configuration of a sweep."""

    number: int  # its place in the order of the search, from 1
    assignment: Assignment  # the keys that count in it, and their values
    runs: tuple[RunConfig, ...]  # one per seed

    @property
    def label(self) -> str:
        """Its name in tables and messages."""
        return described(self.assignment)


@dataclass(frozen=True)
class Sweep:
    """A sweep with everything resolved."""

    name: str  # of its folder
    command: running.Command  # how runs are carried out; its runs are those of the defaults, one per seed
    layers: Sequence[Layer]  # the keys and values below each configuration's own
    space: Space
    trials: int | None  # how many configurations are tried; None for the whole grid
    search: str
    scheduler: str
    search_seed: int  # of the random choice of configurations
    folder: Path  # of table, figures and best.yaml
    declared: Sequence[Assignment] = ()  # the controls as the file has them
    # what the sweep answers; None: whether the best configuration differs from the default
    question: Question | None = None
    storage: str | None = None  # the URL of Optuna's study; None: in memory
    checksums: Checksums = field(default_factory=dict)

    @property
    def base(self) -> RunConfig:
        """The run of the defaults with the first seed."""
        return self.command.runs[0]

    @property
    def seeds(self) -> list[int]:
        """Of every configuration."""
        return [run.seed for run in self.command.runs]

    @property
    def definition(self) -> str:
        """The hash of what is searched: equal for sweeps whose configurations can be compared."""
        surroundings = self.base.model_copy(update={"seed": 0}).identity
        text = "\n".join([surroundings, *map(str, self.space.parameters)])
        return sha256(text.encode()).hexdigest()[:12]

    @property
    def defaults(self) -> Assignment:
        """The values without a search, for every key of the space."""
        return {x.key: x.default(self.value_of(self.base, x.key)) for x in self.space.parameters}

    @property
    def controls(self) -> list[Assignment]:
        """The controls, in every other key as the defaults."""
        return [self.space.completed(control, self.defaults) for control in self.declared]

    def hyperparameters(self, run: RunConfig) -> BaseHyperparameters:
        """Return all hyperparameters of a run, with the defaults filled in."""
        model = registry.load(run.method, self.command.plugins).Hyperparameters
        return model.resolve(model.restored(run.hyperparameters), owner=run.method)

    def value_of(self, run: RunConfig, key: str) -> Any:
        """Return the value that a run has for a key of the space, also where the key does not count."""
        section, _, name = key.rpartition(".")
        if section:
            return getattr(getattr(run, section), name)
        return self.hyperparameters(run).model_dump(mode="json")[name]

    def label(self, run: RunConfig) -> str:
        """Return the name of a run with its configuration."""
        values = {key: self.value_of(run, key) for key in self.space.keys}
        return f"{run.label} [{described(self.space.completed(values, values))}]"

    def configuration(self, number: int, assignment: Assignment) -> Configuration:
        """Return a configuration with its runs, or raise an InputError for a value out of range."""
        layer: dict[str, Any] = {}
        for key, value in assignment.items():
            section, _, name = key.rpartition(".")
            layer.setdefault(section or self.base.method, {})[name] = value
        request = Request((*self.layers, layer), self.command.plugins, self.command.data_root)
        return Configuration(number, assignment, tuple(plan(request, datasets, self.checksums)))

    def numbered(self, assignments: Sequence[Assignment]) -> list[Configuration]:
        """Return the configurations, those with the same runs once."""
        found: dict[str, Configuration] = {}
        for assignment in assignments:
            configuration = self.configuration(len(found) + 1, assignment)
            found.setdefault(configuration.runs[0].identity, configuration)
        return list(found.values())

    def listed(self) -> list[Configuration]:
        """Return the configurations of a search that needs no results to continue: grid or random."""
        return self.numbered(self.chosen())

    def chosen(self) -> list[Assignment]:
        """Return what such a search tries, in its order.

        The controls come first; a larger number of trials begins with a smaller one's. Of a grid the defaults follow,
        then what differs from them in one key, then in two, and so on; among those that differ in as many keys the
        question's references come before other values of its key, and those before what differs elsewhere.
        """
        base, controls, question = self.defaults, self.controls, self.question
        if self.search == "random":
            count = self.trials or TRIALS
            return distinct([*controls, *self.space.random(self.search_seed, count)])[:count]

        def place(assignment: Assignment) -> tuple[int, int]:
            if assignment in controls:
                return -1, controls.index(assignment)
            changed = sum(value != base[key] for key, value in assignment.items())
            if question is None or assignment.get(question.key) in question.against:
                return changed, 0
            return changed, 1 if assignment.get(question.key) != base[question.key] else 2

        grid = self.space.grid()
        # among equals the order is random
        Random(f"grid:{self.search_seed}").shuffle(grid)  # noqa: S311 - nothing secret
        return sorted(grid, key=place)[: self.trials]

    @property
    def left_out(self) -> str:
        """How many configurations of a grid are not tried; empty for a whole grid or another search."""
        left = len(self.space.grid()) - self.trials if self.search == "grid" and self.trials is not None else 0
        return f"{left} of the grid's {left + (self.trials or 0)} configurations are left out" if left > 0 else ""


def prepare(
    file: str | None,
    given: Layer,
    settings: Layer,
    words: Sequence[str] = (),
    plugins: tuple[str, ...] = (),
    out: Path | None = None,
    begun: float | None = None,
    fetch: bool = False,
) -> Sweep:
    """Resolve a sweep, or raise an InputError.

    Args:
        file: The sweep's file, if there is one.
        given: The flags, which win over the file; the sweep's keys among them.
        words: Of ``--space``; each replaces the file's key.
        begun: When the command began, as in :func:`benchmark.running.prepare`.
    """
    content = _read(file) if file else {}
    chosen = {key: (given if key in given else content).get(key) for key in KEYS}
    below = {key: value for key, value in content.items() if key not in (*KEYS, "description")}
    check_keys(below, plugins)
    method = chosen["method"]
    if not isinstance(method, str):
        hint = "say which: --method dkel" if method is None else f"given: {method!r}"
        raise InputError(f"a sweep takes one method ({hint}; valid: {', '.join(registry.available(plugins))})")
    above = {key: value for key, value in given.items() if key not in KEYS} | dict(settings) | {"methods": [method]}
    layers = [{"data": {"holdout": HOLDOUT}}, below, above]
    known = partial(canonical, method=method, plugins=plugins)
    space = parse_space(chosen["space"] or {}, words, known)
    controls, question = _declared(content, known)
    # --space may have taken their values away
    controls = [control for control in controls if space.allows(control)]
    if question is not None:
        against = tuple(value for value in question.against if space.has(question.key, value))
        question = question.model_copy(update={"against": against}) if against else None
    for section, name in ((section, name) for section, values in settings.items() for name in values):
        if (name if section == method else f"{section}.{name}") in space.keys:
            raise InputError(f"{section}.{name} is both set and searched: leave out --set, or search only this value")
    command = running.prepare(layers, plugins, begun=begun)
    for what in ("dataset", "backbone"):
        found = {getattr(run, what) for run in command.runs}
        if len(found) > 1:
            raise InputError(f"a sweep takes one {what} (given: {', '.join(sorted(found))})")
    if not command.runs[0].data.holdout:
        raise InputError(f"a sweep scores on held-out training images: data.holdout must be above 0 ({HOLDOUT})")
    if fetch:
        command = running.prepare(layers, plugins, begun=begun, fetch=True)
    dataset = "".join(char if char.isalnum() or char == "-" else "_" for char in command.runs[0].dataset)[-40:]
    name = f"{Path(file).stem if file else method}-{dataset}"
    options = _options(chosen, command.engine)
    folder = out or command.store.root / "sweeps" / name
    sweep = Sweep(name, command, layers, space, folder=folder, declared=controls, question=question, **options)
    for parameter in space.parameters:
        beside = {key: values[0] for key, values in parameter.when.items()}
        for value in parameter.values:
            try:
                sweep.configuration(0, {**beside, parameter.key: value})
            except InputError as error:
                raise InputError(f"space: {error}") from None
    return sweep


def _options(chosen: Mapping[str, Any], engine: str) -> dict[str, Any]:
    """Return the checked options of the search by the names of the sweep's fields."""
    found = {key: option.checked(key, chosen[key]) for key, option in SWEEP_OPTIONS.items() if key != "method"}
    search, storage = found["search"], found["storage"]
    if search == "optuna" and find_spec("optuna") is None:
        raise InputError("search optuna needs the package optuna: pip install 'okdbench[sweep]'")
    if engine == "serial" and (search == "optuna" or found["scheduler"] == "asha"):
        raise InputError(
            "search optuna and scheduler asha go through Ray: engine serial takes grid or random, and none"
        )
    if storage is not None and search != "optuna":
        raise InputError(f"storage keeps Optuna's study: it belongs to search optuna (given: search {search})")
    if storage is not None and "://" not in storage:
        found["storage"] = f"sqlite:///{Path(storage).absolute()}"
    return found


def _declared(content: Layer, known: Callable[[str], str]) -> tuple[list[Assignment], Question | None]:
    """Return the controls and the question of a file, which are of the space that it declares."""
    given, asked = content.get("controls") or [], content.get("question")
    if not isinstance(given, list) or not all(isinstance(each, Mapping) for each in given):
        raise InputError(f"controls takes a list of keys and values, as in [{{decay: none}}] (given: {given!r})")
    if not isinstance(asked, Mapping | None):
        raise InputError(f"question takes a key and its references: {{key: K, against: [V]}} (given: {asked!r})")
    if not given and asked is None:
        return [], None
    space = parse_space(content["space"], (), known)
    controls = [{known(str(key)): value for key, value in each.items()} for each in given]
    if unmet := [control for control in controls if not space.allows(control)]:
        wrong = f"controls: no configuration of the space has {described(unmet[0])}"
        raise InputError(f"{wrong}; a key that counts with some values of another needs one of them beside it")
    if asked is None:
        return controls, None
    question = validated(Question, asked, "question")
    question = question.model_copy(update={"key": known(question.key)})
    if unmet := [{question.key: value} for value in question.against if not space.has(question.key, value)]:
        raise InputError(f"question.against: no configuration of the space has {described(unmet[0])}")
    return controls, question


def first_rung(epochs: int) -> int:
    """Return the epoch after which ASHA first stops configurations."""
    return int(max(1, epochs // REDUCTION**RUNGS))


def canonical(key: str, method: str, plugins: Sequence[str] = ()) -> str:
    """Return a key of the space as tables show it, or raise an InputError for one that must not be searched."""
    section, _, name = key.rpartition(".")
    own = registry.load(method, plugins).Hyperparameters
    models = {**SECTIONS, "": own, method: own}
    if section not in models:
        raise unknown("section", section, (*SECTIONS, method))
    if name not in models[section].model_fields:
        for owner in [other for other, model in SECTIONS.items() if name in model.model_fields and not section]:
            raise InputError(f"{method!r} has no hyperparameter {name!r}: the setting is {owner}.{name}")
        what = f"key in {section!r}" if section in SECTIONS else f"hyperparameter of {method!r}"
        raise unknown(what, name, models[section].model_fields)
    searchable = DataConfig.of_role(FieldRole.AUGMENTATION)
    if section == "data" and name not in searchable:
        allowed = ", ".join(f"data.{other}" for other in DataConfig.model_fields if other in searchable)
        raise InputError(f"{key} decides which images a configuration is scored on: of data a space takes {allowed}")
    return key.removeprefix(f"{method}.")


def _read(file: str) -> dict[str, Any]:
    """Return the content of a sweep's file: a path, or a name in ``configs/sweeps``."""
    packaged = f"sweeps/{file}"
    content = recipes.read(recipes.find(packaged if packaged in recipes.names() and not Path(file).is_file() else file))
    if "space" not in content:
        raise InputError(f"{file} holds no 'space': bench run --config {file} carries out its runs")
    if "methods" in content:
        raise InputError(f"{file}: a sweep takes one method: write 'method: dkel' instead of 'methods'")
    return content
