"""Write the JSON Schema of manifests and grids, with which editors complete and check them.

`python -m harness.manifest.schema [FILE]` writes it for the installed workloads. The schema knows
the form only; `harness validate` also checks what spans several fields.

A grid has the fields of a manifest, in which a name such as `$mode` may stand for any value. So its
schema is made of that of a manifest.
"""

import json
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from harness.manifest import grid
from harness.manifest.claims import KINDS, SETS
from harness.manifest.experiment import Manifest
from harness.manifest.fields import Frozen, Line, Text
from harness.record import Json
from harness.workload import COSTS, Template, Workload

FILE = Path("experiments/manifest.schema.json")


_Scalar = str | int | float | bool
_Label = Annotated[str, Field(pattern=f"^{grid.LABEL.pattern}$")] | float | bool
_Labels = _Label | list[_Label]
_Axis = Annotated[str, Field(pattern=f"^{grid.AXIS.pattern}$")]
_Cells = Annotated[Mapping[_Axis, _Labels], Field(min_length=1)]
"""Cells by their labels, one or several on each axis."""


class _Grid(Frozen):
    """The sections of a grid file that are not those of a manifest."""

    grid: Annotated[
        Mapping[
            _Axis,
            Annotated[list[_Label], Field(min_length=1)]
            | Annotated[Mapping[str, Mapping[_Axis, Any]], Field(min_length=1)],
        ],
        Field(min_length=1),
    ]
    """The axes, each a list of values, or a mapping of values to further names. Every combination
    is an experiment."""
    exclude: Annotated[tuple[_Cells, ...], Field(min_length=1)] = ()
    """Cells that are left out."""
    cells: Annotated[tuple[Mapping[str, Any], ...], Field(min_length=1)] = ()
    """Further names for the cells of `where`; the last entry that fits a cell counts."""
    comparisons: Annotated[tuple[Any, ...], Field(min_length=1)] = ()
    """Claims between the cells."""


class _Between(Frozen):
    """The fields that a claim between cells has in addition to those of its kind."""

    each: Mapping[_Axis, _Labels] = {}
    """The claim is made for each of these labels."""
    expected: Text | None = None
    """Why the claim is known not to hold."""


class _Table(Frozen):
    """Numbers in a table beside the manifest."""

    table: Line
    """The file: .csv or .tsv."""
    rows: Mapping[str, _Scalar]
    """The text in the columns of the rows that are meant."""
    values: str | None = None
    """The column with the value of every run, one in each row."""
    number: str | None = None
    """The column with the number, in the one row."""
    mean: str | float | None = None
    sd: str | float | None = None
    runs: str | int | None = None
    ddof: int | None = None


def schema(registry: Mapping[str, Workload]) -> dict[str, Json]:
    """The JSON Schema of a manifest or grid whose workload is one of `registry`."""
    manifest = _manifest(registry)
    definitions = manifest.pop("$defs")
    definitions["Table"] = _Table.model_json_schema()
    for definition in definitions.values():
        reported = definition.get("properties", {}).get("reported")
        if reported is not None:
            tables = [{"$ref": "#/$defs/Table"}]
            definition["properties"]["reported"] = {"anyOf": [reported, *tables]}
    in_grids = {f"grid.{name}": _inner(each) for name, each in definitions.items()}
    definitions |= in_grids
    definitions |= {"Manifest": manifest, "Name": _NAME, "Grid": _grid(manifest, definitions)}
    for definition in definitions.values():
        _close(definition)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Manifest of one experiment, or of a grid of them",
        "$defs": definitions,
        "if": {"required": ["grid"]},
        "then": {"$ref": "#/$defs/Grid"},
        "else": {"$ref": "#/$defs/Manifest"},
    }


def _close(node: Json) -> None:
    """Refuse keys that fit no pattern, of which pydantic says nothing."""
    if isinstance(node, dict):
        if "patternProperties" in node:
            node.setdefault("additionalProperties", False)
        for child in node.values():
            _close(child)
    elif isinstance(node, list):
        for child in node:
            _close(child)


_ANY_TEXT = (r"\S", r"^\S(.*\S)?$")
"""Patterns of texts, which a name fits as it is."""

_NAME = {
    "type": "string",
    "pattern": r"\$(\{?[a-z_]|\$)",
    "description": "A name of the cell, such as $mode, or text with such names.",
}


def _grid(manifest: Mapping[str, Json], definitions: dict[str, Json]) -> dict[str, Json]:
    """The schema of a grid file; adds those of claims between cells to the definitions."""
    sections, extra = _Grid.model_json_schema(), _Between.model_json_schema()["properties"]
    cells = _inner(extra["each"])
    between = []
    for kind in KINDS:
        if not kind.between_cells():
            continue
        claim = definitions[f"grid.{kind.__name__}"]
        properties = {
            name: {"anyOf": [value, cells]} if name in SETS else value
            for name, value in claim["properties"].items()
        }
        name = f"between.{kind.__name__}"
        definitions[name] = {**claim, "properties": properties | extra}
        between.append({"$ref": f"#/$defs/{name}"})
    own = sections["properties"]
    own["comparisons"]["items"] = {"oneOf": between}
    whole = _inner(manifest)
    return {
        **whole,
        "title": "Grid of experiments",
        "description": sections["description"],
        "properties": own | whole["properties"],
        "required": ["grid", *whole["required"]],
    }


def _inner(node: Json) -> Json:
    """A schema in which a name may stand for any part of the value, but not for the whole."""
    if not isinstance(node, dict):
        return node
    found = {name: value for name, value in node.items() if name != "discriminator"}
    if "$ref" in found:
        found["$ref"] = found["$ref"].replace("#/$defs/", "#/$defs/grid.")
    for name in ("oneOf", "anyOf"):
        if name in found:
            found[name] = [_inner(each) for each in found[name]]
    for name in ("items", "additionalProperties"):
        if isinstance(found.get(name), dict):
            found[name] = _or_a_name(found[name])
    for name in ("properties", "patternProperties"):
        if name in found:
            found[name] = {key: _or_a_name(value) for key, value in found[name].items()}
    if "then" in found:
        found["then"] = _inner(found["then"])
    return found


def _or_a_name(node: Json) -> Json:
    """A schema in which a name may stand for the value or any part of it."""
    inner = _inner(node)
    if "const" in node or node == {} or node.get("pattern") in _ANY_TEXT:
        return inner
    return {"anyOf": [inner, {"$ref": "#/$defs/Name"}]}


def _manifest(registry: Mapping[str, Workload]) -> dict[str, Json]:
    """The JSON Schema of a manifest whose workload is one of `registry`."""
    whole = Manifest.model_json_schema()
    whole["title"] = "Manifest of one experiment"
    definitions = whole["$defs"]
    claims = whole["properties"]["claims"]["items"]
    here = {kind.kind_name(): kind.__name__ for kind in KINDS if not kind.between_cells()}
    claims["oneOf"] = [{"$ref": f"#/$defs/{name}"} for name in here.values()]
    claims["discriminator"]["mapping"] = {kind: f"#/$defs/{name}" for kind, name in here.items()}
    sourced = next(name for name in definitions if name.startswith("Sourced_Any"))
    definitions["WorkloadChoice"] = {
        "oneOf": [_choice(workload, sourced, definitions) for workload in registry.values()]
    }
    own = {name for workload in registry.values() for name in workload.metrics}
    metrics = sorted(own | COSTS.keys())
    known = {"properties": {"metric": {"enum": metrics}}}
    # A manifest that completes its workload names its own metrics.
    fixed = [workload.name for workload in registry.values() if not isinstance(workload, Template)]
    whole["if"] = {"properties": {"workload": {"properties": {"name": {"enum": fixed}}}}}
    whole["then"] = {"properties": {"claims": {"items": known}, "twin": known}}
    return whole


def _choice(workload: Workload, sourced: str, definitions: dict[str, Json]) -> dict[str, Json]:
    """The schema of one workload's parameters, each a typed value with its source."""
    if isinstance(workload, Template):
        return _template(workload.name, workload, sourced, definitions)
    parameters = workload.parameters.model_json_schema()
    definitions |= parameters.get("$defs", {})
    properties = {
        name: {
            "$ref": f"#/$defs/{sourced}",
            "description": value.get("description", name),
            "properties": {"value": value},
        }
        for name, value in parameters.get("properties", {}).items()
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "parameters"],
        "properties": {
            "name": {"const": workload.name},
            "parameters": {
                "type": "object",
                "additionalProperties": False,
                "required": parameters.get("required", []),
                "properties": properties,
            },
        },
    }


def _template(
    name: str, template: Template, sourced: str, definitions: dict[str, Json]
) -> dict[str, Json]:
    """The schema of a workload that the manifest completes, with any parameters."""
    section = template.section.model_json_schema()
    definitions |= section.get("$defs", {})
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", *section.get("required", [])],
        "properties": {
            "name": {"const": name},
            "parameters": {
                "type": "object",
                "additionalProperties": {"$ref": f"#/$defs/{sourced}"},
            },
            **section["properties"],
        },
    }


def text(registry: Mapping[str, Workload]) -> str:
    """The text of the schema's file."""
    return json.dumps(schema(registry), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> None:
    """Write the schema of the installed workloads."""
    # By entry point: modules below the command line must not import the workloads.
    installed = sorted(entry_points(group="harness.workloads"))
    registry: dict[str, Workload] = {entry.name: entry.load() for entry in installed}
    file = Path(arguments[0]) if arguments else FILE
    file.write_text(text(registry), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
