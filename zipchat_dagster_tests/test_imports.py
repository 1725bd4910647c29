"""The modules of the package and what they import, read from their source."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "zipchat_dagster"


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def imports(source: str) -> Iterator[str]:
    """Every module that the source imports, also inside functions; not what only types need."""
    nodes: list[ast.AST] = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                for alias in names:
                    submodule = f"{module}.{alias.name}"
                    yield submodule if submodule in MODULES else module
        nodes += ast.iter_child_nodes(node)


GRAPH = {name: set(imports(path.read_text())) for name, path in MODULES.items()}


def all_imports(name: str) -> set[str]:
    """The modules that are imported along with this one."""
    found: set[str] = set()
    todo = [name]
    while todo:
        new = GRAPH.get(todo.pop(), set()) - found
        found |= new
        todo += new
    return found


def test_no_module_imports_itself_through_others() -> None:
    own = {name: found & MODULES.keys() for name, found in GRAPH.items()}
    TopologicalSorter(own).prepare()  # a CycleError names the modules


def test_every_imported_package_is_named_as_a_dependency() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    required = project["dependencies"] + project["optional-dependencies"]["lake"]
    named = {canonical(re.split("[=<>]", line)[0]) for line in required}
    imported = {name.partition(".")[0] for found in GRAPH.values() for name in found}
    foreign = imported - sys.stdlib_module_names - {PACKAGE.name}
    distributions = packages_distributions()
    assert {canonical(distributions[name][0]) for name in foreign} <= named


def canonical(name: str) -> str:
    return name.lower().replace("_", "-")


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("zipchat_dagster.client", {"dagster", "duckdb"}),
        ("zipchat_dagster.warehouse", {"dagster"}),
        ("zipchat_dagster.sync", {"dagster"}),
        ("zipchat_dagster.estimate", {"dagster"}),
        ("zipchat_dagster.readers", {"dagster"}),
        ("zipchat_dagster.write_back", {"dagster"}),
        ("zipchat_dagster.replay", {"dagster", "zipchat_dagster.sandbox"}),
    ],
)
def test_libraries_do_not_import_what_they_must_not_know(name: str, foreign: set[str]) -> None:
    packages = tuple(f"{package}." for package in foreign)
    assert not {found for found in all_imports(name) if f"{found}.".startswith(packages)}
