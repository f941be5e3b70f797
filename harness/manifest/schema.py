"""Write the JSON Schema of manifests, with which editors complete and check them.

`python -m harness.manifest.schema [FILE]` writes it for the installed workloads. The schema knows
the form only; `harness validate` also checks what spans several fields.
"""

import json
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path

from harness.manifest.experiment import Manifest
from harness.record import Json
from harness.workload import COSTS, Template, Workload

FILE = Path("experiments/manifest.schema.json")


def schema(registry: Mapping[str, Workload]) -> dict[str, Json]:
    """The JSON Schema of a manifest whose workload is one of `registry`."""
    whole = Manifest.model_json_schema()
    whole["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    whole["title"] = "Manifest of one experiment"
    definitions = whole["$defs"]
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
