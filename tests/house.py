"""The shape of the code, measured: `python tests/house.py [ROOT]` prints it. What tests/test_layers.py asserts."""

import ast
import functools
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGES = {"scope_openrlhf": "scope_openrlhf", "eval": "scope_eval"}
"""Folder -> the name that it is imported by."""


def modules(root: Path = Path()) -> dict[str, Path]:
    """Each module by its dotted name; a package is the module of its __init__.py."""
    found = {}
    for folder, name in PACKAGES.items():
        for file in sorted((root / folder).rglob("*.py")):
            parts = (name, *file.relative_to(root / folder).with_suffix("").parts)
            found[".".join(parts).removesuffix(".__init__")] = file
    return found


@functools.cache
def parsed(file: Path) -> ast.Module:
    """The syntax tree of a file, which nobody changes while this runs."""
    return ast.parse(file.read_text())


def imports_of(file: Path, known: dict[str, Path]) -> set[str]:
    """The modules of ours that a file imports, those inside functions too."""
    found: set[str] = set()
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                found.add(inside if inside in known else node.module)
    return found & known.keys()


def libraries_of(file: Path) -> set[str]:
    """The first names of all that a file imports."""
    found: set[str] = set()
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def graph(root: Path = Path()) -> dict[str, set[str]]:
    """Each module and the modules of ours that it imports."""
    known = modules(root)
    return {name: imports_of(file, known) - {name} for name, file in known.items()}


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Sets of two or more modules that import each other, directly or by way of others (Tarjan's components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in arrows[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            members: set[str] = set()
            while not members or name not in members:
                members.add(stack.pop())
            if len(members) > 1:
                found.append(members)

    for name in arrows:
        if name not in index:
            visit(name)
    return found


def functions(file: Path) -> Iterator[tuple[str, int]]:
    """Name and number of lines of every function and method."""
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def inner_imports(file: Path) -> Iterator[int]:
    """Line of each import inside a function."""
    for function in ast.walk(parsed(file)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield node.lineno


def measured(root: Path) -> dict[str, str]:
    """The figures of a checkout, as texts."""
    files = modules(root)
    lengths = {name: len(file.read_text().splitlines()) for name, file in files.items()}
    sizes = {f"{name}.{f}": n for name, file in files.items() for f, n in functions(file)}
    text = [line for file in files.values() for line in file.read_text().splitlines()]
    longest, largest = max(lengths, key=lengths.__getitem__), max(sizes, key=sizes.__getitem__)
    long_lines = sum(len(line) > 120 for line in text)
    return {
        "files": str(len(files)),
        "lines": f"{sum(lengths.values()):,}",
        "median file": f"{statistics.median(lengths.values()):g}",
        "largest file": f"{lengths[longest]} ({longest})",
        "median function": f"{statistics.median(sizes.values()):g}",
        "largest function": f"{sizes[largest]} ({largest})",
        "functions over 60 lines": str(sum(n > 60 for n in sizes.values())),
        "imports inside functions": str(sum(len(set(inner_imports(file))) for file in files.values())),
        "circles": str(len(circles(graph(root)))),
        "type: ignore": str(sum("type: ignore" in line for line in text)),
        "lines over 120": f"{long_lines} ({100 * long_lines / len(text):.1f}%)",
        "kB of README": f"{(root / 'README.md').stat().st_size / 1000:.1f}",
    }


if __name__ == "__main__":
    for what, figure in measured(Path(sys.argv[1] if len(sys.argv) > 1 else ".")).items():
        print(f"{what:<26}{figure}")
