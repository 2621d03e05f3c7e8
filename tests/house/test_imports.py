"""What import-linter leaves open: its layers name every room, and production knows no simulation."""

import re
import tomllib

from tests.house.source import PACKAGES, ROOT, imports, modules

# What lies outside the daemon or is seen by all of it; single modules beside node.py are values and wiring.
OUTSIDE_THE_LAYERS = {"bench", "simulation", "observability"}
NOT_PRODUCTION = (
    "prsm_node/bench",
    "prsm_node/chaos",
    "prsm_node/simulation",
    "consensus/simulation",
    "prsm_node/cli",
)


def layered() -> set[str]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return {name.strip("() ") for layer in layers for name in re.split("[|:]", layer)}


def test_every_room_stands_in_the_layers() -> None:
    rooms = {path.name for path in (ROOT / "prsm_node").iterdir() if any(path.glob("*.py"))}
    forgotten = {f"prsm_node.{room}" for room in rooms - OUTSIDE_THE_LAYERS} - layered()
    assert not forgotten, f"name them in pyproject.toml's layers: {sorted(forgotten)}"


def test_no_production_room_imports_a_simulation() -> None:
    found = [
        str(i)
        for path in modules(*PACKAGES)
        if not any(path.is_relative_to(ROOT / folder) for folder in NOT_PRODUCTION)
        for i in imports(path)
        if "simulation" in i.module.split(".") or "bench" in i.module.split(".")
    ]
    assert not found, "\n".join(found)


def test_no_package_imports_the_tests() -> None:
    found = [
        str(i)
        for path in modules(*PACKAGES, "scripts")
        for i in imports(path)
        if i.module.startswith("tests")
    ]
    assert not found, "\n".join(found)


def test_only_network_knows_libp2p() -> None:
    found = [
        str(i)
        for path in modules(*PACKAGES)
        if not path.is_relative_to(ROOT / "prsm_node/network")
        for i in imports(path)
        if i.module.split(".")[0] in {"libp2p", "multiaddr"}
    ]
    assert not found, "\n".join(found)
