"""YAML without its traps: a key that is given twice, and words that versions of YAML read differently, are refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import yaml

from ..errors import UserError

DEEPEST = 100  # mappings and lists inside each other
MOST = 100_000  # values, with those that references repeat


@dataclass(frozen=True)
class Document:
    """What a file says. lines: the dotted name of each key -> the line that it stands in, from 1."""

    value: Any
    lines: dict[str, int] = field(default_factory=dict)


def read_yaml(text: str, name: str) -> Document:
    """Read YAML.

    Args:
        text: what the file holds.
        name: the file, for messages.

    Raises:
        UserError: it is no YAML, a key stands twice in one mapping, or a word without quotes is a truth value or a
            number in YAML 1.1 and text in YAML 1.2 (on, no, 010, 1:30).
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return Document(None)
        _refuse_expansion(root, name)
        lines = dict(_checked(root, name, "", (), set()))
        return Document(loader.construct_document(root), lines)
    except UserError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # of a number of thousands of digits, or \UFFFFFFFF
        raise UserError(f"{name} is no YAML: {' '.join(str(error).split())}") from None
    except (AttributeError, LookupError, TypeError):  # from PyYAML, of !!int "" and its like
        raise UserError(f"{name} is no YAML: a tag (!!...) stands before what it isn't; leave the tag out") from None
    except RecursionError:
        raise UserError(f"{name} is no YAML that can be read: it is nested too deeply") from None


class _Loader(yaml.SafeLoader):
    """Plain words as in YAML 1.2's core schema."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}  # type: ignore[misc]  # as PyYAML's own loaders do

    def __init__(self, text: str):
        super().__init__(text)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As PyYAML does, down to `DEEPEST`: its time grows by the square of the depth."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise RecursionError
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), [*"tTfF"])
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile("^[-+]?(?:0|[1-9][0-9]*)$"), [*"-+0123456789"])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    [*"-+.0123456789"],
)


class _Dumper(yaml.SafeDumper):
    """Puts text in quotes that YAML 1.1 or 1.2 reads as something else: 0E0 is text in the first alone."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {  # type: ignore[misc]  # as PyYAML's own dumpers do
        first: [rule for kind in (yaml.SafeDumper, _Loader) for rule in kind.yaml_implicit_resolvers.get(first, [])]
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
    }


def write_yaml(values: Any) -> str:
    """Plain values as YAML, which `read_yaml` gives back."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, width=120)


def _refuse_expansion(root: yaml.Node, name: str) -> None:
    """Raise UserError where references (*a) repeat so much that the whole is of more than `MOST` values."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = 1  # of one that holds itself, which is refused later
            parts = [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
            sizes[id(node)] += 0 if isinstance(node, yaml.ScalarNode) else sum(map(size, parts))
        return sizes[id(node)]

    if size(root) > MOST:
        raise UserError(f"{name} holds {size(root)} values with those that references (*) repeat, more than {MOST}")


def _checked(node: yaml.Node, name: str, key: str, above: tuple[int, ...], done: set[int]) -> Iterator[tuple[str, int]]:
    """The dotted keys below a node and their lines. Raises UserError, see `read_yaml`."""
    if id(node) in above:
        raise UserError(f"{name}, line {_line(node)}: {key} holds itself")
    if id(node) in done:  # an anchor's, looked at where it stands
        return
    above = (*above, id(node))
    if isinstance(node, yaml.ScalarNode):
        _refuse_ambiguous(node, name, key)
    elif isinstance(node, yaml.SequenceNode):
        for one in node.value:
            yield from _checked(one, name, key, above, done)
    elif isinstance(node, yaml.MappingNode):
        yield from _checked_mapping(node, name, key, above, done)
    done.add(id(node))


def _checked_mapping(
    node: yaml.MappingNode, name: str, key: str, above: tuple[int, ...], done: set[int]
) -> Iterator[tuple[str, int]]:
    seen: dict[str, int] = {}
    for word, value in node.value:
        inside = f"{key}.{word.value}" if key else str(word.value)
        if isinstance(word, yaml.ScalarNode):
            _refuse_ambiguous(word, name, inside)
        if str(word.value) in seen:
            raise UserError(
                f"{name}, line {_line(word)}: {inside} is given twice, first in line {seen[str(word.value)]}; "
                "leave one of them out, or put their settings together"
            )
        seen[str(word.value)] = _line(word)
        yield inside, _line(word)
        yield from _checked(value, name, inside, above, done)


def _refuse_ambiguous(node: yaml.ScalarNode, name: str, key: str) -> None:
    if node.style is not None or node.tag != "tag:yaml.org,2002:str":
        return
    other = yaml.SafeLoader("")
    tag = other.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]  # PyYAML's
    kinds = {"tag:yaml.org,2002:bool": bool, "tag:yaml.org,2002:int": int, "tag:yaml.org,2002:float": float}
    if tag not in kinds:
        return
    read = other.construct_object(yaml.ScalarNode(tag, node.value))
    as_other = str(read).lower() if kinds[tag] is bool else read
    raise UserError(
        f"{name}, line {_line(node)}: {key} is {node.value}, which is {as_other} in YAML 1.1 and text in YAML 1.2: "
        f'write "{node.value}" in quotes if it is text, else {as_other}'
    )


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
