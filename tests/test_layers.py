"""The shape of the project: every file stands in a room, imports go one way, and files and functions stay small."""

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

import house
import pytest

MODULES = house.modules()
GRAPH = house.graph()
# Rooms in the order in which the data flow: each imports only from those before it, and from itself.
ROOMS = [
    "scope_openrlhf.settings",
    "scope_openrlhf.files",
    "scope_openrlhf.platform",
    "scope_openrlhf.models",
    "scope_openrlhf.verifier",
    "scope_openrlhf.data",
    "scope_openrlhf.equations",
    "scope_openrlhf.algorithms",
    "scope_openrlhf.teacher",
    "scope_openrlhf.host",
    "scope_openrlhf.pages",
    "scope_openrlhf.run",
    "scope_eval",
]
ENGINES = {"ray", "vllm", "openrlhf", "deepspeed", "lm_eval"}
HEAVY = ENGINES | {"torch", "transformers", "datasets", "matplotlib", "peft"}
"""Libraries whose import takes a second or prints."""


def room_of(module: str) -> int | None:
    """The rank of a module's room; None for the package itself, which holds its version alone."""
    found = [i for i, room in enumerate(ROOMS) if module == room or module.startswith(f"{room}.")]
    return found[0] if found else None


@pytest.mark.parametrize("module", MODULES)
def test_every_file_stands_in_a_room_and_imports_only_from_those_before_it(module):
    rank = room_of(module)
    if rank is None:
        assert module == "scope_openrlhf" and not GRAPH[module], f"{module} stands in no room"
        return
    for other in GRAPH[module]:
        theirs = room_of(other)
        assert theirs is None or theirs <= rank, f"{module} imports {other}, whose room comes later"


def test_no_import_runs_in_a_circle():
    assert house.circles(GRAPH) == []


def test_a_circle_would_be_found():
    assert house.circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


@pytest.mark.parametrize("module", MODULES)
def test_openrlhf_and_deepspeed_are_imported_in_one_room_alone(module):
    if not module.startswith("scope_openrlhf.host"):
        assert not house.libraries_of(MODULES[module]) & {"openrlhf", "deepspeed"}


def test_equations_algorithms_and_what_comes_before_them_know_no_engine():
    for module, file in MODULES.items():
        rank = room_of(module)
        if rank is not None and rank <= ROOMS.index("scope_openrlhf.algorithms") and ".platform" not in module:
            assert not house.libraries_of(file) & ENGINES, module


@pytest.mark.parametrize("module", MODULES)
def test_an_import_inside_a_function_saves_a_second_and_says_so(module):
    """It is of a heavy library, or of our own modules that bring one; and a comment says why it is not at the top."""
    lines = MODULES[module].read_text().splitlines()
    for number in sorted(set(house.inner_imports(MODULES[module]))):
        near = "\n".join(lines[max(0, number - 6) : number])
        assert "#" in near or '"""' in near, f"{module}, line {number}: say why it is not at the top"


@pytest.mark.parametrize("module", MODULES)
def test_files_functions_and_lines_stay_small(module):
    lines = MODULES[module].read_text().splitlines()
    assert len(lines) <= 300
    assert [(name, n) for name, n in house.functions(MODULES[module]) if n > 60] == []
    assert [number for number, line in enumerate(lines, 1) if len(line) > 120] == []


def test_the_wheel_holds_every_package():
    project = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {name for name, file in MODULES.items() if file.name == "__init__.py"}
    assert packages <= set(project["packages"])


def test_rollout_defines_no_class_that_would_travel():
    """OpenRLHF loads rollout.py under another name, so what it defines is pickled by value: seconds a step."""
    body = ast.parse(Path("scope_openrlhf/host/rollout.py").read_text()).body
    assert [n.name for n in body if isinstance(n, ast.ClassDef)] == ["AgentExecutor", "ScopeSamplesGenerator"]


def test_one_file_alone_knows_what_rides_in_openrlhfs_containers():
    """Labels and Experience.info are packed and unpacked in luggage.py."""
    for module, file in MODULES.items():
        # reward.py is for plain OpenRLHF, whose labels may be anybody's
        if module not in ("scope_openrlhf.host.luggage", "scope_openrlhf.verifier.reward"):
            packed = r"\.info\[\"|\.info\.pop|LABEL_COLUMN\]|json\.loads\(\w*label"
            assert not re.search(packed, file.read_text()), module


def names_defined(file: Path) -> set[str]:
    """Public functions and classes at the top of a file."""
    body = house.parsed(file).body
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in body if isinstance(node, kinds) and not node.name.startswith("_")}


def test_nothing_is_there_for_tests_alone():
    """A public name of the package is used by the package, by another program of the project, or from outside."""
    outside = {"reward_func", "register", "CpuWorkerWrap", "EngineTemperature", "AgentExecutor"}  # named in strings
    programs = [*Path("docs").glob("*.py"), *Path("examples").rglob("*.py"), *Path("tests").glob("bench_*.py")]
    sources = [*MODULES.values(), *programs, *Path("eval/tasks").iterdir()]
    words = Counter(word for file in sources for word in re.findall(r"\w+", file.read_text()))
    for module, file in MODULES.items():
        for name in names_defined(file) - outside - {"main"}:
            assert words[name] > 1, f"{module}.{name} is used by nobody"
