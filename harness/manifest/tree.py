"""Read YAML text into a tree of plain values in which every value knows its line.

PyYAML's safe parser reads the text. What a scalar means follows YAML 1.2's core schema, because
YAML 1.1 (PyYAML's own) reads `1e-4` as a string, `no` as false and `12:30` as 750. A number with
leading zeros is text here: to some readers `010` is ten, to others eight.
"""

import codecs
import json
import pathlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import yaml

from harness.errors import Fault, ManifestError
from harness.record import Json

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

MAX_BYTES = 2**20
"""No manifest or table is larger. A larger file is not read to its end."""
MAX_DEPTH = 32
MAX_VALUES = 100_000
"""Values after aliases are expanded. Otherwise a few lines of aliases could fill the memory."""
MAX_DIGITS = 40
"""A longer run of digits is no number that anyone meant, and it is slow to read."""

Path = tuple[str | int, ...]
"""Where a value is: the names of the fields and the places in lists that lead to it."""

_PLAIN = re.compile(r"[\w-]{1,60}")
_PREFIX = "tag:yaml.org,2002:"


class _CoreLoader(_SafeLoader):
    """Resolves the implicit types of YAML 1.2's core schema and no others."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


def _resolver(name: str, pattern: str, first: str) -> None:
    """Add a type; `first` holds the characters that such a scalar can begin with."""
    _CoreLoader.add_implicit_resolver(_PREFIX + name, re.compile(pattern), list(first))


_resolver("bool", r"^(?:true|false)$", "tf")
_resolver("int", rf"^[-+]?(?:0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}})$", "-+0123456789")
_FLOAT = r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
_resolver("float", rf"^(?:{_FLOAT}|[-+]?\.inf|\.nan)$", "-+.0123456789")
_resolver("null", r"^(?:~|null|)$", "~n")
_CoreLoader.add_implicit_resolver(_PREFIX + "null", re.compile(r"^$"), [""])

_SCALARS: dict[str, Callable[[str], Json]] = {
    _PREFIX + "bool": lambda text: text == "true",
    _PREFIX + "int": int,
    _PREFIX + "float": lambda text: float(text.replace(".inf", "inf").replace(".nan", "nan")),
    _PREFIX + "null": lambda _: None,
}


def quote(value: object) -> str:
    """Quote a value for a message: on one line, in ASCII, in at most 60 characters."""
    text = json.dumps(value) if isinstance(value, bool | None) else ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def dotted(path: Path) -> str:
    """Name a path for a message.

    >>> dotted(("claims", 3, "reported", "10"))
    'claims[3].reported[10]'
    """
    text = ""
    for part in path:
        if isinstance(part, int) or part.isdecimal():
            text += f"[{part}]"
        else:
            text += "." * bool(text) + (part if _PLAIN.fullmatch(part) else quote(part))
    return text


_FIRST_GROUP = re.compile(r"[1-9][0-9]{0,2}")
_GROUP = re.compile(r"[0-9]{3}")
_DIGITS = re.compile(r"[0-9]{1,9}")
_CUT = re.compile(r"[-+]?[0-9]{1,9}(?:[.,][0-9]*)?(?:,[0-9]+)*")
_ZEROS = re.compile(r"0[0-9]{2}")
"""In a list, `4,123` may well be two numbers; `4,000` cannot be."""
_NUMBER = re.compile(_FLOAT)
_THOUSANDS = re.compile(r"[-+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")
_DECIMAL_COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+")
_UNDERSCORES = re.compile(r"[-+]?[0-9]+(?:_[0-9]+)+(?:\.[0-9]*)?")
_LEADING_ZEROS = re.compile(r"([-+]?)0+([0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)")
_OTHER_BASE = re.compile(r"0[xX][0-9a-fA-F]{1,32}|0[oO][0-7]{1,32}|0[bB][01]{1,64}")


def number_meant(text: str) -> str | None:
    """How to write the number that a text probably stands for; None if it looks like none.

    >>> number_meant("4,000"), number_meant("0x10"), number_meant("four")
    ('4000', '16', None)
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return text  # only quotes make it a text
    if _THOUSANDS.fullmatch(text):
        return text.replace(",", "")
    if _DECIMAL_COMMA.fullmatch(text):
        return text.replace(",", ".")
    if _UNDERSCORES.fullmatch(text):
        return text.replace("_", "")
    if _OTHER_BASE.fullmatch(text):
        return str(int(text, 0))
    zeros = _LEADING_ZEROS.fullmatch(text)
    return zeros[1] + zeros[2] if zeros else None


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the file and its line: that of its key if it has one, counted from 1."""

    value: "str | int | float | bool | dict[str, Node] | list[Node] | None"
    line: int
    file: str | None = None
    """Where the line is, if not in the manifest itself but in a table beside it."""
    decimals: int = field(default=0, compare=False)
    """How many digits a number has behind its point in the file; trailing zeros count."""

    def get(self, *keys: str) -> "Node | None":
        """The value under these keys, one inside the other; None if it is absent."""
        node: Node | None = self
        for key in keys:
            node = node.fields.get(key) if node else None
        return node

    @property
    def fields(self) -> "dict[str, Node]":
        """The entries of a mapping; empty for any other value."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> "list[Node]":
        """The items of a list; empty for any other value."""
        return self.value if isinstance(self.value, list) else []

    @property
    def text(self) -> str | None:
        """The value if it is a string, else None."""
        return self.value if isinstance(self.value, str) else None

    def at(self, path: Path) -> "Node":
        """The node at `path`, or the deepest one on the way there that exists."""
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
        """Turn a JSON value into a tree without lines (0); `plain` is the inverse."""
        if isinstance(value, dict):
            return cls({str(key): cls.of(item) for key, item in value.items()}, 0)
        if isinstance(value, list):
            return cls([cls.of(item) for item in value], 0)
        return cls(value, 0)

    def plain(self) -> Json:
        """The same value without lines, as JSON."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def content(path: pathlib.Path) -> tuple[bytes, str]:
    """Read a file; return its bytes and its text.

    Raises:
        ManifestError: it cannot be read, is too large, or is not UTF-8.
    """
    line, fault = 0, f"larger than {MAX_BYTES} bytes"
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) <= MAX_BYTES:
            return content, content.decode("utf-8-sig")
    except OSError as error:
        fault = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        why = "it is UTF-16; save it as UTF-8" if utf_16 else error.reason
        line, fault = content.count(b"\n", 0, error.start) + 1, f"not UTF-8: {why}"
    raise ManifestError([Fault(str(path), line, "", fault)])


class _UnreadableError(Exception):
    """The text cannot be read any further."""


def parse_yaml(text: str, file: str) -> tuple[Node | None, list[Fault]]:
    """Read one YAML document.

    Returns:
        The tree, or None if the text cannot be read, and every fault. Of duplicate keys the first
        is kept, and a tag is ignored, so that the rest can be checked as well.
    """
    reader = _Reader(file)
    try:
        reader.survey(text)
        return reader.tree(yaml.compose(text, Loader=_CoreLoader)), reader.faults
    except _UnreadableError:
        return None, reader.faults
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reader.fault(mark.line + 1 if mark else 1, f"not YAML: {_explain(error, text)}")
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        reader.fault(line, f"not YAML: {error.reason}")
    return None, reader.faults


def _explain(error: yaml.MarkedYAMLError, text: str) -> str:
    """PyYAML's message, in plain words where it does not name the usual mistake."""
    problem = str(error.problem or error.context)
    lines = text.splitlines()
    mark = error.problem_mark
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "a tab indents this line; indent with spaces"
    if problem == "but found another document":
        return "a second document begins here; a file holds one"
    return problem


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
        """Refuse tags, and any depth that PyYAML's recursion cannot handle."""
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
                self.fault(line, f"tags are not allowed, got {quote(tag)}")

    def tree(self, root: yaml.Node | None) -> Node:
        if root is None or (isinstance(root, yaml.ScalarNode) and not root.value):
            raise self.stop(1, "the file is empty; it must hold a mapping of fields")
        line = _line(root)
        if not isinstance(root, yaml.MappingNode):
            kind = "a list" if isinstance(root, yaml.SequenceNode) else quote(_scalar(root))
            raise self.stop(line, f"must be a mapping of fields, got {kind}")
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
            return Node(self.mapping(node, line, path), line)
        if isinstance(node, yaml.SequenceNode):
            # An alias stands where it is used, which its own mark does not say.
            items = [
                self.convert(item, max(_line(item), line), (*path, place))
                for place, item in enumerate(_joined_items(node))
            ]
            return Node(items, line)
        if isinstance(node, _CutNumber):
            return Node(self.number(node, line, path), line)
        value = _scalar(node)
        return Node(value, line, decimals=_decimals(node.value) if isinstance(value, float) else 0)

    def mapping(self, node: yaml.MappingNode, line: int, path: Path) -> dict[str, Node]:
        fields: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key_node, value_node in _joined_entries(node):
            here = max(_line(key_node), line)
            if _plain(key_node) and key_node.value == "<<":
                merged = self.merged(value_node, here, path) | merged
                continue
            key = _scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if isinstance(key_node, _CutNumber):
                key = self.number(key_node, here, path)
            elif isinstance(key, str) and _LEADING_ZEROS.fullmatch(key):
                meant = number_meant(key)
                self.fault(here, f"{key} has leading zeros; write {meant}", path)
                key = meant
            if not isinstance(key, str | int) or isinstance(key, bool):
                self.fault(here, "a field's name must be plain text or a whole number", path)
                continue
            where = (*path, str(key))
            if str(key) in fields:
                first = fields[str(key)].line
                self.fault(here, f"duplicate field, already given on line {first}", where)
            else:
                fields[str(key)] = self.convert(value_node, here, where)
        return merged | fields  # what the mapping itself says comes first

    def number(self, node: "_CutNumber", line: int, path: Path) -> Json:
        """Report a number that a comma cuts in two; returns what is probably meant."""
        meant = number_meant(node.value)
        advice = f"write {meant}" if meant else "write it without commas"
        self.fault(
            line, f"{node.value} is no number in YAML, where a comma ends a value; {advice}", path
        )
        return json.loads(meant) if meant else node.value

    def merged(self, node: yaml.Node, line: int, path: Path) -> dict[str, Node]:
        """The fields that a merge key (`<<: *anchor`, or a list of them) takes over."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        fields: dict[str, Node] = {}
        for source in sources:
            if isinstance(source, yaml.MappingNode):
                # The first one wins. `convert` also ends a mapping that merges itself.
                fields = self.convert(source, line, (*path, "<<")).fields | fields
            else:
                self.fault(line, "the merge key << takes a mapping, or a list of them", path)
        return fields


class _CutNumber(yaml.ScalarNode):
    """A number with a comma in a flow list or mapping, which YAML takes for the end of a value."""

    def __init__(self, first: yaml.Node, second: yaml.Node) -> None:
        super().__init__("", f"{first.value},{second.value}", first.start_mark, second.end_mark)


def _joined_items(node: yaml.SequenceNode) -> list[yaml.Node]:
    """The items of a list, where `4,000` is one item."""
    items: list[yaml.Node] = []
    for item in node.value:
        if node.flow_style and items and _is(_ZEROS, item) and _is(_CUT, items[-1]):
            items[-1] = _CutNumber(items[-1], item)
        else:
            items.append(item)
    return items


def _joined_entries(node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
    """The entries of a mapping, where `value: 4,000` and `4,000: value` are one entry each."""
    entries: list[tuple[yaml.Node, yaml.Node]] = list(node.value)
    if not node.flow_style:
        return entries
    for place in reversed(range(len(entries) - 1)):
        (first, _), (second, value) = entries[place : place + 2]
        if _alone(*entries[place]) and _is(_FIRST_GROUP, first) and _is(_GROUP, second):
            entries[place : place + 2] = [(_CutNumber(first, second), value)]
    joined: list[tuple[yaml.Node, yaml.Node]] = []
    for key, value in entries:
        if joined and _alone(key, value) and _is(_DIGITS, key) and _is(_CUT, joined[-1][1]):
            joined[-1] = (joined[-1][0], _CutNumber(joined[-1][1], key))
        else:
            joined.append((key, value))
    return joined


def _alone(key: yaml.Node, value: yaml.Node) -> bool:
    """Whether a key stands without a colon."""
    return _plain(value) and not value.value and value.start_mark.index == key.end_mark.index


def _is(pattern: re.Pattern[str], node: yaml.Node) -> bool:
    return _plain(node) and pattern.fullmatch(node.value) is not None


def _plain(node: yaml.Node) -> bool:
    """Whether it is a scalar without quotes."""
    return isinstance(node, yaml.ScalarNode) and not node.style


def _line(marked: yaml.Node | yaml.Event) -> int:
    return marked.start_mark.line + 1 if marked.start_mark else 1


def _decimals(text: str) -> int:
    """How many decimals a number is written with.

    >>> _decimals("3.4900"), _decimals("1e-4"), _decimals("2")
    (4, 4, 0)
    """
    mantissa, _, exponent = text.lower().partition("e")
    return max(0, len(mantissa.partition(".")[2]) - int(exponent or 0))


def _scalar(node: yaml.Node) -> Json:
    text: str = node.value
    try:
        return _SCALARS.get(node.tag, str)(text)
    except ValueError:  # an explicit tag, a fault already, claims what the text is not
        return text
