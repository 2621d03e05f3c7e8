"""The tree as the house tests see it: tracked files, modules and what they import."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("consensus", "prsm_node")


class Imported(NamedTuple):
    """`from a.b import c` in line 3 of x.py is (x.py, 3, "a.b", "c"); `import a.b` has no `name`."""

    path: Path
    line: int
    module: str
    name: str | None

    def __str__(self) -> str:
        what = f"from {self.module} import {self.name}" if self.name else f"import {self.module}"
        return f"{self.path.relative_to(ROOT)}:{self.line}: {what}"


def modules(*folders: str) -> list[Path]:
    """Return every Python file below these folders of the root; a folder that is missing has none."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(path: Path) -> Iterator[Imported]:
    """Yield what a module imports, at any depth; relative imports are made absolute."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (Imported(path, node.lineno, alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*above, *([node.module] if node.module else [])))
            yield from (Imported(path, node.lineno, module, alias.name) for alias in node.names)


def tracked_files() -> list[Path]:
    """Return what git tracks, or would if it were added: ignored files are nobody's business."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = (ROOT / name for name in listing.stdout.decode().split("\0") if name)
    return sorted(path for path in paths if path.is_file())


def tracked_lines() -> Iterator[tuple[Path, int, str]]:
    """Yield every line of every tracked file that is text."""
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        yield from ((path, number, line) for number, line in enumerate(text.splitlines(), 1))
