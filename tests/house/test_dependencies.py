"""Every dependency says why it is here, is locked, and is used."""

import re
import tomllib

from tests.house.source import PACKAGES, ROOT, imports, modules

REQUIREMENT = re.compile(r'^\s*"(?P<name>[A-Za-z0-9_.-]+)[^"]*",(?P<rest>.*)$')
# What a distribution is called when imported, where that is another name.
IMPORTED_AS = {"py-ed25519-zebra-bindings": "ed25519_zebra"}


def listed(after: str) -> list[tuple[str, str]]:
    """Return (name, what follows it on its line) of the list that begins with the line `after`."""
    lines = iter((ROOT / "pyproject.toml").read_text().splitlines())
    for line in lines:
        if line == after:
            break
    found = []
    for line in lines:
        if line == "]":
            break
        requirement = REQUIREMENT.match(line)
        assert requirement, f"one requirement a line: {line}"
        found.append((requirement["name"], requirement["rest"]))
    assert found, f"nothing is listed after {after}"
    return found


def test_every_dependency_says_why_it_is_here() -> None:
    both = listed("dependencies = [") + listed("dev = [")
    silent = [name for name, rest in both if not re.match(r"\s*# \w+", rest)]
    assert not silent, f"no reason is given for {silent}"


def test_every_dependency_is_locked() -> None:
    for start, lock in (("dependencies = [", "requirements.lock"), ("dev = [", "requirements-dev.lock")):
        pinned = set(re.findall(r"^([^=\s]+)==", (ROOT / lock).read_text(), re.MULTILINE))
        missing = {name for name, _ in listed(start)} - pinned
        assert not missing, f"{lock} lacks {missing}; run scripts/lock"


def test_every_import_from_outside_is_a_declared_dependency() -> None:
    import sys

    named = {name for name, _ in listed("dependencies = [")}
    declared = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in named}
    # Typer's own base, held by its version range; libp2p's address type is part of its interface, and
    # it brings stubs that hide trio's own types.
    declared |= {"click", "multiaddr", "trio_typing"}
    outside = [
        i
        for path in modules(*PACKAGES)
        for i in imports(path)
        if i.module.split(".")[0] not in sys.stdlib_module_names | declared | set(PACKAGES)
    ]
    assert not outside, "\n".join(map(str, outside))


def test_package_and_project_have_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    said = re.search(r'^__version__ = "(.+)"', (ROOT / "prsm_node/__init__.py").read_text(), re.MULTILINE)
    assert said is not None
    assert said[1] == project["version"]
