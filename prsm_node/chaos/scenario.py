"""A scenario of chaos is data: which faults, how often each, for how long; a TOML file in configs/chaos."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from prsm_node import bounded_file
from prsm_node.chaos.shaping import Condition
from prsm_node.errors import OperatorError

PACKAGE: Final = Path(__file__).resolve().parents[1]
SHIPPED: Final = (PACKAGE / "chaos_scenarios", PACKAGE.parent / "configs" / "chaos")
"""In an installed wheel, and in a clone."""

FILE_BYTES_MAX: Final = 65_536

Kind = Literal["kill", "pause", "partition", "slow"]
Shape = Literal["half", "one", "ring", "bridge", "one_way"]
Seconds = Annotated[float, Meta(ge=0, le=3_600)]
Span = Annotated[tuple[Seconds, Seconds], Meta(description="least and most")]


class Nemesis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to do harm."""

    kind: Kind
    for_s: Span
    """How long a process is down, paused, cut off or slowed."""
    weight: Annotated[int, Meta(ge=1, le=1_000)] = 1
    """How often it is drawn, against the others."""
    shapes: Annotated[tuple[Shape, ...], Meta(min_length=1)] = ("half", "one", "ring", "bridge", "one_way")
    """Of a partition."""
    links: Condition = Condition()
    """Of slow links, in both directions, all of them."""


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What befalls a network of daemons."""

    faults: Annotated[tuple[Nemesis, ...], Meta(min_length=1, max_length=64)]
    about: str = ""
    gap_s: Span = (4.0, 8.0)
    """From the end of a fault to the next one."""
    links: Condition = Condition()
    """All the time."""


def load(name: str) -> Scenario:
    """Read a shipped scenario by name, or a file. Raise OperatorError."""
    path = Path(name)
    if path.suffix != ".toml" and not path.is_file():
        found = next((f for at in SHIPPED if (f := at / f"{name}.toml").is_file()), None)
        if found is None:
            known = ", ".join(shipped())
            raise OperatorError(f"there is no chaos scenario {name}; choose a TOML file or one of: {known}")
        path = found
    try:
        return scenario_of(tomllib.loads(bounded_file.read(path, FILE_BYTES_MAX, "scenario").decode()))
    except ValueError as error:
        raise OperatorError(f"chaos scenario {name} can't be read: {error}") from None


def shipped() -> list[str]:
    """The names of the scenarios that come with the program."""
    return sorted({path.stem for at in SHIPPED for path in at.glob("*.toml")})


def scenario_of(data: dict[str, Any]) -> Scenario:
    """Raise ValueError, naming the key, where the data is no scenario."""
    scenario = msgspec.convert(data, Scenario)
    for number, nemesis in enumerate(scenario.faults):
        _ascending(f"faults[{number}].for_s", nemesis.for_s)
        if nemesis.kind == "slow" and nemesis.links == Condition():
            raise ValueError(
                f"faults[{number}].links is missing; say how slow, as in links = {{delay_ms = 50}}"
            )
    _ascending("gap_s", scenario.gap_s)
    return scenario


def _ascending(name: str, span: tuple[float, float]) -> None:
    if span[0] > span[1]:
        raise ValueError(f"{name} is [{span[0]:g}, {span[1]:g}]; put the smaller number first")
