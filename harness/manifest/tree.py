"""YAML text to a tree of plain values in which every value knows its line.

PyYAML's safe parser reads the text; what a scalar means follows YAML 1.2's core schema, because
YAML 1.1 (PyYAML's own) reads `1e-4` as a string, `no` as false and `12:30` as 750.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import yaml

from harness.errors import Fault
from harness.record import Json

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

MAX_DEPTH = 32
MAX_VALUES = 100_000
"""Values after aliases are expanded: a few lines of them can otherwise fill the memory."""
MAX_DIGITS = 40
"""A longer run of digits is no number that anyone meant, and slow to read as one."""

Path = tuple[str | int, ...]
"""Where a value is: the names of the fields and the places in lists that lead to it."""

_PLAIN = re.compile(r"[\w-]{1,60}")
_PREFIX = "tag:yaml.org,2002:"


class _CoreLoader(_SafeLoader):
    """Knows the implicit types of YAML 1.2's core schema and no others."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


def _resolver(name: str, pattern: str, first: str) -> None:
    """`first` are the characters that such a scalar can begin with."""
    _CoreLoader.add_implicit_resolver(_PREFIX + name, re.compile(pattern), list(first))


_resolver("bool", r"^(?:true|false)$", "tf")
_resolver("int", rf"^[-+]?[0-9]{{1,{MAX_DIGITS}}}$", "-+0123456789")
_resolver(
    "float",
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$",
    "-+.0123456789",
)
_resolver("null", r"^(?:~|null|)$", "~n")
_CoreLoader.add_implicit_resolver(_PREFIX + "null", re.compile(r"^$"), [""])

_SCALARS: dict[str, Callable[[str], Json]] = {
    _PREFIX + "bool": lambda text: text == "true",
    _PREFIX + "int": int,
    _PREFIX + "float": lambda text: float(text.replace(".inf", "inf").replace(".nan", "nan")),
    _PREFIX + "null": lambda _: None,
}


def show(value: object) -> str:
    """A value as a message quotes it: on one line, in ASCII, and never long."""
    text = json.dumps(value) if isinstance(value, bool | None) else ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def dotted(path: Path) -> str:
    """A path as a message names it.

    >>> dotted(("claims", 3, "reported", "10"))
    'claims[3].reported[10]'
    """
    text = ""
    for part in path:
        if isinstance(part, int) or part.isdecimal():
            text += f"[{part}]"
        else:
            text += "." * bool(text) + (part if _PLAIN.fullmatch(part) else show(part))
    return text


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the file and its line: that of its key if it has one, counted from 1."""

    value: "str | int | float | bool | dict[str, Node] | list[Node] | None"
    line: int

    def get(self, *keys: str) -> "Node | None":
        """What lies under these keys, one inside the other; None if it is not there."""
        node: Node | None = self
        for key in keys:
            node = node.fields.get(key) if node else None
        return node

    @property
    def fields(self) -> "dict[str, Node]":
        """The entries of a mapping; nothing for any other value."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> "list[Node]":
        """The items of a list; nothing for any other value."""
        return self.value if isinstance(self.value, list) else []

    @property
    def text(self) -> str | None:
        """The value if it is a string."""
        return self.value if isinstance(self.value, str) else None

    def at(self, path: Path) -> "Node":
        """What lies at `path`; where that does not exist, the last on the way that does."""
        node = self
        for part in path:
            if isinstance(part, int):
                if part >= len(node.items):
                    return node
                node = node.items[part]
            elif part in node.fields:
                node = node.fields[part]
            else:
                return node
        return node

    @classmethod
    def of(cls, value: Json) -> "Node":
        """What JSON holds, as a tree without lines (0); `plain` is its inverse."""
        if isinstance(value, dict):
            return cls({str(key): cls.of(item) for key, item in value.items()}, 0)
        if isinstance(value, list):
            return cls([cls.of(item) for item in value], 0)
        return cls(value, 0)

    def plain(self) -> Json:
        """The same without lines, as JSON has it."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


class _UnreadableError(Exception):
    """The text cannot be read any further."""


def parse(text: str, file: str) -> tuple[Node | None, list[Fault]]:
    """Read one YAML document.

    Returns:
        The tree, or None where there is none to speak of, and every fault. Of duplicate keys
        the first is kept, and a tag is passed over, so that the rest can be checked as well.
    """
    reader = _Reader(file)
    try:
        reader.survey(text)
        return reader.tree(yaml.compose(text, Loader=_CoreLoader)), reader.faults
    except _UnreadableError:
        return None, reader.faults
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reader.fault(mark.line + 1 if mark else 1, f"not YAML: {error.problem or error.context}")
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        reader.fault(line, f"not YAML: {error.reason}")
    return None, reader.faults


class _Reader:
    """Collects the faults of one text on the way from events to the tree."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.faults: list[Fault] = []
        self.values = 0

    def fault(self, line: int, message: str, path: Path = ()) -> None:
        self.faults.append(Fault(self.file, line, dotted(path), message))

    def stop(self, line: int, message: str, path: Path = ()) -> _UnreadableError:
        self.fault(line, message, path)
        return _UnreadableError()

    def survey(self, text: str) -> None:
        """Refuse tags, and any depth on which PyYAML's recursion would founder."""
        depth = 0
        for event in yaml.parse(text, Loader=_CoreLoader):
            line = _line(event)
            if isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            if depth > MAX_DEPTH:
                raise self.stop(line, f"nested deeper than {MAX_DEPTH} levels")
            tag = getattr(event, "tag", None)
            if tag is not None:
                self.fault(line, f"tags are not allowed, got {show(tag)}")

    def tree(self, root: yaml.Node | None) -> Node:
        if root is None:
            raise self.stop(1, "empty; a mapping of fields is wanted")
        line = _line(root)
        if not isinstance(root, yaml.MappingNode):
            raise self.stop(line, "a mapping of fields is wanted")
        return self.convert(root, line, ())

    def convert(self, node: yaml.Node, line: int, path: Path) -> Node:
        self.values += 1
        if len(path) > MAX_DEPTH:  # through aliases: the text itself was surveyed
            raise self.stop(line, f"aliases nest deeper than {MAX_DEPTH} levels", path[:1])
        if self.values > MAX_VALUES:
            raise self.stop(
                line, f"more than {MAX_VALUES} values once aliases are expanded", path[:1]
            )
        if isinstance(node, yaml.MappingNode):
            return Node(self.mapping(node, path), line)
        if isinstance(node, yaml.SequenceNode):
            # An alias stands where it is used, which its own mark does not say.
            items = [
                self.convert(item, max(_line(item), line), (*path, place))
                for place, item in enumerate(node.value)
            ]
            return Node(items, line)
        return Node(_scalar(node), line)  # the third and last kind of node

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Node]:
        fields: dict[str, Node] = {}
        for key_node, value_node in node.value:
            line = _line(key_node)
            key = _scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str | int) or isinstance(key, bool):
                self.fault(line, "a field's name must be plain text or a whole number", path)
                continue
            here = (*path, str(key))
            if str(key) in fields:
                first = fields[str(key)].line
                self.fault(line, f"duplicate field, already given on line {first}", here)
            else:
                fields[str(key)] = self.convert(value_node, line, here)
        return fields


def _line(marked: yaml.Node | yaml.Event) -> int:
    return marked.start_mark.line + 1 if marked.start_mark else 1


def _scalar(node: yaml.Node) -> Json:
    text: str = node.value
    try:
        return _SCALARS.get(node.tag, str)(text)
    except ValueError:  # an explicit tag, a fault already, claims what the text is not
        return text
