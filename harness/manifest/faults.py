"""Translate pydantic's errors into faults of a YAML file: where, what is wrong, what to write."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import Fault
from harness.manifest.tree import Node, Path, number_meant, quote
from harness.record import Json


@dataclass(frozen=True)
class Finding:
    """One fault of a manifest, at one place."""

    path: Path
    message: str
    elsewhere: Fault | None = None
    """The fault itself, if it is in another file than the manifest."""


def suggest(word: str, allowed: Collection[str]) -> str:
    """The allowed word that `word` resembles, or else all that are allowed."""
    near = get_close_matches(word, allowed, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; allowed: {', '.join(allowed)}" if allowed else ""


def findings(error: ValidationError, model: type[BaseModel], root: Node) -> Iterator[Finding]:
    """Every fault that pydantic found when it validated the plain value of `root`."""
    for details in error.errors(include_url=False):
        path = _path(details, root)
        # pydantic does not count items that have faults, so the list need not be too short.
        if (
            details["type"] == "too_short"
            and len(root.at(path).items) >= details["ctx"]["min_length"]
        ):
            continue
        yield Finding(path, plain_words(details, model))


def plain_words(details: ErrorDetails, model: type[BaseModel]) -> str:
    """Put one of pydantic's errors into plain words; `model` is what was validated."""
    context: Mapping[str, Any] = details.get("ctx", {})
    if details["type"] == "extra_forbidden":
        loc = details["loc"]
        return f"unknown field{suggest(str(loc[-1]), _fields(model, loc[:-1]))}"
    say = _MESSAGES.get(details["type"])
    return say(details["input"], context) if say else details["msg"].split("\n")[0]


def _wanted(
    what: str, hint: Callable[[Json], str] = lambda _: ""
) -> Callable[[Json, Mapping[str, Any]], str]:
    """The message where a value has the wrong type.

    Args:
        what: the type that is wanted, with its article.
        hint: what the value probably stands for; empty where that is not known.
    """

    def say(value: Json, _: Mapping[str, Any]) -> str:
        blank = value is None
        if blank:
            return f"left blank: must be {what}"
        return f"must be {what}, got {quote(value)}{hint(value)}"

    return say


def _number_hint(value: Json) -> str:
    meant = number_meant(value) if isinstance(value, str) else None
    if meant is None:
        return ""
    quoted = " without quotes" if meant == value else ""
    return f"; that is text: write {meant}{quoted}"


def _whole_hint(value: Json) -> str:
    if isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    return _number_hint(value)


def _text_hint(value: Json) -> str:
    if isinstance(value, list | dict):
        return ""
    return "; put it in quotes to make it text"


def _bool_hint(value: Json) -> str:
    """YAML 1.1 has ten more words for a truth value, and other programs still read them so."""
    word = str(value).lower()
    meant = {**dict.fromkeys(_TRUE, "true"), **dict.fromkeys(_FALSE, "false")}.get(word)
    quoted = " without quotes" if value == meant else ""
    return f"; write {meant}{quoted}" if meant else ""


_TRUE, _FALSE = ("true", "yes", "on", "y", "1"), ("false", "no", "off", "n", "0")


def _bound(name: str, words: str, at_zero: str) -> Callable[[Json, Mapping[str, Any]], str]:
    def say(value: Json, context: Mapping[str, Any]) -> str:
        limit = context[name]
        return f"must {at_zero if limit == 0 else f'be {words} {limit}'}, got {quote(value)}"

    return say


def _choice(value: Json, context: Mapping[str, Any]) -> str:
    expected = str(context.get("expected", context.get("expected_tags")))
    allowed = [word.strip("' ") for word in expected.replace(" or ", ", ").split(",")]
    if value is None:
        return f"left blank: must be {' or '.join(allowed)}"
    if isinstance(value, dict):  # of a union, what is told apart by its kind
        value = value.get("kind")
    near = suggest(value, allowed) if isinstance(value, str) else ""
    hint = near if "did you mean" in near else ""
    return f"must be {' or '.join(allowed)}, got {quote(value)}{hint}"


def _pattern(value: Json, context: Mapping[str, Any]) -> str:
    if not str(value).strip():
        return "must not be empty"
    one_line = context["pattern"] == r"^\S(.*\S)?$"
    wanted = "be one line with no blanks around it" if one_line else f"match {context['pattern']}"
    return f"must {wanted}, got {quote(value)}"


_WHOLE = _wanted("a whole number", _whole_hint)
_NUMBER = _wanted("a number", _number_hint)
_MESSAGES: Mapping[str, Callable[[Json, Mapping[str, Any]], str]] = {
    "missing": lambda _, __: "required",
    "int_type": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _wanted("a finite number"),
    "string_type": _wanted("text", _text_hint),
    "bool_type": _wanted("true or false", _bool_hint),
    "tuple_type": _wanted("a list"),
    "list_type": _wanted("a list"),
    "dict_type": _wanted("a mapping"),
    "mapping_type": _wanted("a mapping"),
    "model_type": _wanted("a mapping of fields"),
    "model_attributes_type": _wanted("a mapping of fields"),
    "greater_than": _bound("gt", "above", "be positive"),
    "greater_than_equal": _bound("ge", "at least", "not be negative"),
    "less_than": _bound("lt", "below", "be negative"),
    "less_than_equal": _bound("le", "at most", "not be positive"),
    "too_short": lambda _, context: f"at least {context['min_length']} wanted",
    "too_long": lambda _, context: f"at most {context['max_length']} wanted",
    "literal_error": _choice,
    "union_tag_invalid": _choice,
    "union_tag_not_found": lambda _, __: "required",
    "string_pattern_mismatch": _pattern,
    "value_error": lambda _, context: str(context["error"]),
}


def _path(details: ErrorDetails, root: Node) -> Path:
    """The place in the file, without the marks that pydantic adds to tell unions apart."""
    node: Node | None = root
    path: Path = ()
    after_item = False
    for part in details["loc"]:
        kind = node.get("kind") if node else None
        if (after_item and kind and kind.value == part) or part == "[key]":
            continue
        after_item = isinstance(part, int)
        below = _below(node, part)
        if below is None and str(part).startswith("<"):
            continue
        node, path = below, (*path, part)
    return (*path, "kind") if details["type"].startswith("union_tag") else path


def _below(node: Node | None, part: str | int) -> Node | None:
    if node is None:
        return None
    if isinstance(part, int):
        return node.items[part] if part < len(node.items) else None
    return node.fields.get(part)


@cache
def _schema(model: type[BaseModel]) -> dict[str, Json]:
    return model.model_json_schema()


def _fields(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The names of the fields that are allowed at `loc`, found by following the model's schema."""
    definitions = _schema(model).get("$defs", {})
    here: dict[str, Json] = _schema(model)
    for part in (*loc, None):
        options = [option for option in here.get("anyOf", []) if option.get("type") != "null"]
        here = options[0] if options else here
        here = definitions[here["$ref"].rpartition("/")[2]] if "$ref" in here else here
        if part is None:
            break
        if "discriminator" not in here and "oneOf" in here:  # told apart by its shape
            shapes = [definitions[shape["$ref"].rpartition("/")[2]] for shape in here["oneOf"]]
            return [name for shape in shapes for name in shape["properties"]]
        if "discriminator" in here:
            here = {"$ref": here["discriminator"]["mapping"][part]}
        elif part in here.get("properties", {}):
            here = here["properties"][part]
        else:
            here = here.get("items") or here.get("additionalProperties") or {}
    return list(here.get("properties", {}))
