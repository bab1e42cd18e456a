"""YAML as people write it, read safely: plain data, numbers such as 1e-3, no aliases, no key twice."""

import re
from pathlib import Path
from typing import Any

import yaml

from methods.errors import InputError

MAX_BYTES = 1_000_000


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        # aliases are what a "YAML bomb" is made of, and configurations have no use for them
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            keys = [self.construct_object(key) for key, _ in node.value]
            twice = next(key for place, key in enumerate(keys) if key in keys[:place])
            raise yaml.YAMLError(f"the key {twice!r} stands twice in the mapping at line {node.start_mark.line + 1}")
        return mapping

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        # YAML 1.1 takes 0100 for 64 and 1:30 for 90, which nobody means here
        if re.fullmatch(r"[-+]?(0[0-9_]+|[0-9_]+(:[0-9]+)+)", node.value):
            raise yaml.YAMLError(
                f"{node.value} is no number as it is written here, such as 100 (as a word: '{node.value}')"
            )
        return int(super().construct_yaml_int(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
# PyYAML follows YAML 1.1, which takes 1e-3 for a word
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse(text: str, source: str) -> Any:
    """Return the plain data that YAML text stands for.

    Args:
        text: YAML.
        source: Where it comes from, for messages.

    Raises:
        InputError: If it is no YAML, or uses what is not allowed here.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML raises LookupError and AttributeError for a tag that does not fit its value, such as !!bool maybe
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{source}{where}: not valid YAML: {problem}") from None


def read(path: Path) -> Any:
    """Return the plain data in a YAML file.

    Raises:
        InputError: If the file is missing, too large, not text, or not YAML.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} is larger than {MAX_BYTES:,} bytes: is it a configuration?")
        return parse(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file") from None
