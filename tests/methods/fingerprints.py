"""What each method computes: its losses and weights after three steps on small networks.

``tests/golden/fingerprints.json`` holds them with the method's ``version``. Where a change of the code alters numbers,
raise ``version`` in the method's class, so that runs that were stored before are not taken for the same, and renew the
file::

    python -m tests.methods.fingerprints

It refuses to replace numbers whose version was not raised. ``--all`` replaces them all the same: for a change that
alters no run, such as one of the networks in here, or after an update of torch has changed its random numbers.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

import methods
from methods import Progress, registry
from methods.backbones import Backbone
from methods.backbones.densenet import densenet_bc
from methods.backbones.imagenet_resnet import imagenet_resnet
from methods.backbones.mobilenet import mobilenet_v2
from methods.backbones.resnet import cifar_bottleneck_resnet, cifar_resnet, cifar_resnet_x4
from methods.backbones.shufflenet import shufflenet_v2
from methods.backbones.vgg import vgg16
from methods.backbones.vgg_bn import vgg_bn
from methods.backbones.wide_resnet import wide_resnet
from methods.interface import Batch

PATH = Path(__file__).parents[1] / "golden" / "fingerprints.json"

CLASSES, CHANNELS, BATCH, STEPS = 3, 3, 4, 3
LEARNING_RATE = 0.02
TOLERANCE = 1e-7
"""Relative to a number's own scale: processors round differently, and three steps carry that on."""

Factory = Callable[..., Backbone]

FAMILIES: Mapping[str, Factory] = {
    "resnet": partial(cifar_resnet, blocks=1),
    "bottleneck": partial(cifar_bottleneck_resnet, blocks=1),
    "densenet": partial(densenet_bc, layers=2, growth=4),
    "resnet_x4": partial(cifar_resnet_x4, blocks=1),
    "wide_resnet": partial(wide_resnet, blocks=1, widen=1),
    "imagenet": partial(imagenet_resnet, blocks=(1, 1, 1, 1), max_pool=False),
    "vgg": vgg16,
    "vgg_bn": partial(vgg_bn, convolutions=1),
    "mobilenet": partial(mobilenet_v2, width=0.5),
    "shufflenet": partial(shufflenet_v2, widths=(16, 32, 64), features=64),
}
"""A small network of each family."""

SIDE, LARGER = 8, {"mobilenet": 32, "shufflenet": 32}
"""Of the images: where one pixel is left, batch norm multiplies rounding errors of these networks by a million."""

MET_BY_ALL = ("resnet", "bottleneck", "densenet")
OTHERS_MET_BY = ("dml", "one")
"""Methods of separate networks and of branches: wide networks take seconds with every method."""

TEACHER = "resnet8"


@dataclass(frozen=True)
class Fingerprint:
    """What a method computes on a family."""

    version: int  # of the method
    losses: tuple[Mapping[str, float], ...]  # each step's terms by name
    weights: tuple[float, ...]  # of all weights and buffers after the last step: the Euclidean norm and two projections

    def same(self, other: "Fingerprint") -> bool:
        """Return whether the numbers agree; the versions do not count."""
        if [set(terms) for terms in self.losses] != [set(terms) for terms in other.losses]:
            return False
        losses = (
            (terms[name], others[name])
            for terms, others in zip(self.losses, other.losses, strict=True)
            for name in terms
        )
        # a projection may be nearly zero: what counts is its size beside the whole
        norm = self.weights[0]
        return all(abs(a - b) <= TOLERANCE * max(1.0, abs(a)) for a, b in losses) and all(
            abs(a - b) <= TOLERANCE * norm for a, b in zip(self.weights, other.weights, strict=True)
        )


def pairs() -> list[tuple[str, str]]:
    """Return every family and method that are looked at together."""
    own = [name for name, item in registry.catalogue().items() if item.own]
    return [(family, name) for family in FAMILIES for name in (own if family in MET_BY_ALL else OTHERS_MET_BY)]


@contextmanager
def _exact() -> Iterator[None]:
    threads, default = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_default_dtype(default)
        torch.set_num_threads(threads)


def taken(family: str, name: str, **changed: object) -> Fingerprint:
    """Return what a method computes now.

    Args:
        family: A key of :data:`FAMILIES`.
        name: A method.
        **changed: Hyperparameters that differ from the defaults.
    """
    with _exact(), TemporaryDirectory() as folder:
        torch.manual_seed(0)
        side = LARGER.get(family, SIDE)
        drawn = FAMILIES[family](name=family, num_classes=CLASSES, in_channels=CHANNELS, image_size=side)
        backbone = replace(drawn, in_channels=CHANNELS, image_size=side)
        cls = registry.load(name)
        example = cls.example(Path(folder), TEACHER, CLASSES, CHANNELS, side)
        chosen = cls.Hyperparameters.resolve({**example, **_peers(cls), **changed}, STEPS)
        method = cls([backbone], chosen)
        trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
        optimizer = torch.optim.SGD(trained, lr=LEARNING_RATE)
        method.train()
        batches = _batches(method.views, side)
        method.start(batches)
        losses = []
        for step in range(STEPS):
            views, labels = next(batches)
            progress = Progress(epoch=step, step=step, epochs=STEPS)
            terms = method.losses(method(views), labels, progress)
            optimizer.zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            optimizer.step()
            method.after_step(progress)
            losses.append({term: value.item() for term, value in terms.items()})
        state = [value for value in method.state_dict().values() if isinstance(value, Tensor)]
        return Fingerprint(cls.version, tuple(losses), _digest(state))


def _peers(cls: type[methods.Method]) -> dict[str, int]:
    # the fewest that are several
    field = cls.Hyperparameters.model_fields.get("peers")
    return {"peers": 2} if field is not None and field.get_default() > 1 else {}


def _batches(views: int, side: int) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(1)
    while True:
        images = torch.randn(views, BATCH, CHANNELS, side, side, generator=generator, dtype=torch.float64)
        yield images, torch.arange(BATCH) % CLASSES


def _digest(state: list[Tensor]) -> tuple[float, ...]:
    flat = torch.cat([value.detach().double().flatten() for value in state])
    places = torch.arange(1, len(flat) + 1, dtype=torch.float64)
    projections = [(flat @ torch.cos(rate * places)).item() for rate in (1.0, 2**0.5)]
    return (flat.norm().item(), *projections)


def read() -> dict[tuple[str, str], Fingerprint]:
    """Return the stored fingerprints by family and method."""
    content = json.loads(PATH.read_text(encoding="utf-8"))
    return {
        (family, name): Fingerprint(entry["version"], tuple(entry["losses"]), tuple(entry["weights"]))
        for family, entries in content.items()
        for name, entry in entries.items()
    }


def fault(stored: Fingerprint | None, now: Fingerprint) -> str:
    """Return what is wrong with a stored fingerprint; nothing if it is that of now."""
    renew = "python -m tests.methods.fingerprints"
    if stored is None:
        return f"no fingerprint is stored: {renew}"
    if stored.version != now.version:
        return f"version {now.version}, but the stored fingerprint is of version {stored.version}: {renew}"
    if not stored.same(now):
        return f"other numbers under the unchanged version {now.version}: raise the method's version, then {renew}"
    return ""


def renewed(
    stored: Mapping[tuple[str, str], Fingerprint], now: Mapping[tuple[str, str], Fingerprint], everything: bool
) -> tuple[dict[tuple[str, str], Fingerprint], list[tuple[str, str]]]:
    """Return what is to be stored, and what was kept because its numbers changed under one version."""
    kept = [
        pair
        for pair, found in now.items()
        if not everything and pair in stored and stored[pair].version == found.version and not stored[pair].same(found)
    ]
    # what is the same stays as it is written, on whatever processor this runs
    same = [pair for pair, found in now.items() if pair in stored and not fault(stored[pair], found)]
    return {pair: stored[pair] if pair in (*kept, *same) else found for pair, found in now.items()}, kept


def main(everything: bool) -> int:
    """Renew the file, and return the exit code."""
    stored = read() if PATH.is_file() else {}
    content, kept = renewed(stored, {pair: taken(*pair) for pair in pairs()}, everything)
    nested: dict[str, dict[str, object]] = {}
    for (family, name), entry in content.items():
        nested.setdefault(family, {})[name] = asdict(entry)
    PATH.write_text(json.dumps(nested, indent=1) + "\n", encoding="utf-8")
    for family, name in kept:
        print(f"kept: {name} on {family}: {fault(stored[family, name], taken(family, name))}")
    return 1 if kept else 0


if __name__ == "__main__":
    sys.exit(main("--all" in sys.argv[1:]))
