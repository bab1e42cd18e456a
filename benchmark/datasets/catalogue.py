"""Datasets by name: labelled uint8 images, in memory or in a mapped file."""

import os
from collections.abc import Sequence
from pathlib import Path

from benchmark import paths
from benchmark.configuration import PLACE, DataConfig, SourceCode
from benchmark.datasets.arrays import Digits, Npz, PluginDataset, plugin_datasets
from benchmark.datasets.external import HuggingFace, Torchvision
from benchmark.datasets.files import OFFICIAL, Folder
from benchmark.datasets.images import Dataset, Shape
from benchmark.datasets.provider import Provider
from methods.errors import InputError, unknown

OWN = {own.name: own for own in (Digits(), *OFFICIAL.values(), Folder(), Npz(), Torchvision(), HuggingFace())}


def default_root() -> Path:
    """Return the folder of datasets without ``--data-root``: the environment's ``OKDBENCH_DATA``, else ``data``."""
    return paths.written(os.environ.get("OKDBENCH_DATA") or "data", "OKDBENCH_DATA")


def available(plugins: Sequence[str] = ()) -> dict[str, str]:
    """Return every dataset's name and one-line description; a broken plug-in's is its reason."""
    known = {**OWN, **plugin_datasets(plugins), **OWN}
    return {name: provider.description for name, provider in known.items()}


def describe(name: str, plugins: Sequence[str] = ()) -> Provider:
    """Return what is known of a dataset before it is loaded, or raise an InputError that lists the valid names."""
    word, colon, place = name.partition(PLACE)
    form = next((known for known in OWN if colon and known.startswith(f"{word}{PLACE}")), name)
    if form in OWN:
        if colon and not place.strip():
            raise InputError(f"dataset {name!r} names nothing: {form}")
        return OWN[form]
    found = plugin_datasets(plugins)
    if name in found:
        return found[name]
    for plugin in (item.plugin for item in found.values()):
        if plugin.broken:
            raise InputError(f"unknown dataset {name!r}, and the plug-in {plugin.origin} is broken: {plugin.broken}")
    raise unknown("dataset", name, {*OWN, *found})


def recipe(name: str, plugins: Sequence[str] = ()) -> str:
    """Return the file in ``configs/`` with a dataset's defaults, or raise an InputError that lists the names."""
    return describe(name, plugins).recipe


def source(name: str, plugins: Sequence[str] = ()) -> SourceCode | None:
    """Return the code of a plug-in's dataset; None for one of this project, which its checksum tells."""
    found = describe(name, plugins)
    return found.source() if isinstance(found, PluginDataset) else None


def checksum(name: str, config: DataConfig, root: Path, plugins: Sequence[str] = ()) -> str:
    """Return what identifies the images of a dataset, or raise an InputError if its files are not what they should be.

    The name is one of :func:`available`, or with a form's word in capitals replaced, as in ``folder:photos``.
    """
    return _with_splits(name, config, plugins).checksum(name, config, root)


def present(name: str, root: Path, plugins: Sequence[str] = ()) -> bool:
    """Return whether a dataset seems to be there, so that nothing would be downloaded, or raise an InputError."""
    return describe(name, plugins).present(name, root)


def load(name: str, config: DataConfig, root: Path, plugins: Sequence[str] = ()) -> Dataset:
    """Return a dataset with the subset and the held-out part that are asked for: :meth:`.Provider.load`."""
    return _with_splits(name, config, plugins).load(name, config, root)


def shape(name: str, config: DataConfig, root: Path, plugins: Sequence[str] = ()) -> Shape:
    """Return what a dataset's images look like; it is loaded, or an InputError raised, only if that is not known."""
    return _with_splits(name, config, plugins).shape(name, config, root)


def _with_splits(name: str, config: DataConfig, plugins: Sequence[str]) -> Provider:
    """Return what knows a dataset, and refuse a configuration that asks for splits where there are none to choose."""
    provider = describe(name, plugins)
    asked = [key for key in ("train_split", "test_split") if getattr(config, key) is not None]
    if asked and not provider.splits:
        able = ", ".join(known for known, other in OWN.items() if other.splits)
        raise InputError(f"data.{asked[0]}: {name} has no splits to choose from (what has: {able})")
    return provider
