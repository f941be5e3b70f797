"""A workload that is nobody's, and a manifest without a fault."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, model_validator

from harness.errors import ManifestError
from harness.manifest import Experiment, load
from harness.workload import Metric, Parameters

SOUND = Path(__file__).with_name("sound.yaml").read_text(encoding="utf-8")


class ToyParameters(Parameters):
    rate: Annotated[float, Field(gt=0)]
    """How fast."""
    sizes: tuple[int, ...]
    mode: Literal["fast", "slow"]

    @model_validator(mode="after")
    def _slow_is_slow(self) -> "ToyParameters":
        if self.mode == "slow" and self.rate > 1:
            raise ValueError("rate: at most 1 in slow mode")
        return self


TOY: Any = SimpleNamespace(
    name="toy",
    parameters=ToyParameters,
    metrics={
        "score": Metric(unit="points", description="After every epoch"),
        "test_score": Metric(unit="points", description="At the end", final=True),
        "time": Metric(unit="seconds", description="After every epoch"),
    },
)


@pytest.fixture
def registry() -> Mapping[str, Any]:
    return {"toy": TOY}


@pytest.fixture
def read(tmp_path: Path, registry: Mapping[str, Any]) -> Callable[[str | bytes], Experiment]:
    def _read(text: str | bytes, name: str = "toy.yaml") -> Experiment:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load([path], registry)[0]

    return _read


@pytest.fixture
def faults_of(read: Callable[..., Experiment], tmp_path: Path) -> Callable[..., list[str]]:
    """The lines that a text's faults are printed as, without the folder."""

    def _faults(text: str | bytes, name: str = "toy.yaml") -> list[str]:
        with pytest.raises(ManifestError) as caught:
            read(text, name)
        return str(caught.value).replace(f"{tmp_path}/", "").split("\n")

    return _faults
