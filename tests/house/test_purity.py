"""consensus/ and prsm_node/ledger only compute: same inputs, same outputs, on every machine."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.source import ROOT, imports, modules, tree_of

PURE = ("consensus", "prsm_node/ledger")
# What computes. A module that is missing here is not wrong, but someone has to say that it is pure.
ALLOWED = {
    *("abc", "array", "bisect", "collections", "collections.abc", "copy", "dataclasses", "enum", "fractions"),
    *("functools", "hashlib", "heapq", "itertools", "math", "operator", "struct", "types", "typing"),
    *("msgspec", "msgspec.structs"),
}
# consensus/simulation draws its schedules from seeds.
ALLOWED_IN_SIMULATION = {"random"}
# `hash` differs between processes and `id` between runs; the others reach the world.
FORBIDDEN_CALLS = {
    *("open", "print", "input", "eval", "exec", "compile", "__import__", "globals", "breakpoint"),
    *("hash", "id"),
}


def pure_modules() -> list[Path]:
    return [path for path in modules(*PURE) if "simulation" not in path.relative_to(ROOT).parts]


def simulation_modules() -> list[Path]:
    return modules("consensus/simulation")


def own(module: str, path: Path) -> bool:
    """Whether `module` is one that a pure room may know: consensus, and for the ledger itself too."""
    rooms = ("consensus",) if path.is_relative_to(ROOT / "consensus") else ("consensus", "prsm_node.ledger")
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the plain names that are called, but for calls within `__hash__`."""
    within = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef) and outer.name == "__hash__"
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and id(node) not in within:
            yield node.lineno, node.func.id


def test_pure_rooms_import_only_what_computes() -> None:
    found = [i for path in pure_modules() for i in imports(path) if not own(i.module, path)]
    impure = [str(i) for i in found if i.module not in ALLOWED]
    assert not impure, "\n".join(impure)


def test_the_simulation_imports_no_clock_and_no_io() -> None:
    allowed = ALLOWED | ALLOWED_IN_SIMULATION
    found = [i for path in simulation_modules() for i in imports(path) if not own(i.module, path)]
    impure = [str(i) for i in found if i.module not in allowed]
    assert not impure, "\n".join(impure)


def test_randomness_in_the_simulation_comes_from_a_seed() -> None:
    unseeded = []
    for path in simulation_modules():
        for node in ast.walk(tree_of(path)):
            drawn = isinstance(node, ast.Attribute) and ast.unparse(node.value) == "random"
            if drawn and isinstance(node, ast.Attribute) and node.attr != "Random":
                unseeded.append(f"{path.relative_to(ROOT)}:{node.lineno}: random.{node.attr}")
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) in {"random.Random", "Random"}
                and not node.args
            ):
                unseeded.append(f"{path.relative_to(ROOT)}:{node.lineno}: Random without a seed")
        unseeded += [str(i) for i in imports(path) if i.module == "random" and i.name not in (None, "Random")]
    assert not unseeded, "\n".join(unseeded)


def test_pure_rooms_call_nothing_that_reaches_the_world_or_differs_between_runs() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}(...)"
        for path in pure_modules()
        for line, name in calls(tree_of(path))
        if name in FORBIDDEN_CALLS
    ]
    assert not found, "\n".join(found)


def test_pure_rooms_await_nothing() -> None:
    asynchronous = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in pure_modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, asynchronous)
    ]
    assert not found, "\n".join(found)


def test_the_ledger_computes_without_floats() -> None:
    found = []
    for path in modules("prsm_node/ledger"):
        for node in ast.walk(tree_of(path)):
            constant = isinstance(node, ast.Constant) and isinstance(node.value, float)
            division = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)
            named = isinstance(node, ast.Name) and node.id == "float"
            if constant or division or named:
                assert isinstance(node, ast.expr | ast.stmt)
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("room", PURE)
def test_each_pure_room_has_something_to_look_at(room: str) -> None:
    assert modules(room), f"{room} has no module; was it moved?"
