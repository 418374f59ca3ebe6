"""The shape of the project: who may import the engines, and in which direction."""

import ast
from pathlib import Path

HOST = {"rollout.py", "experience.py", "update.py", "trainer.py", "host.py", "cpu_platform.py"}
# each imports only from those before it
FLOW = ["config", "data", "verifier", "routing", "weights", "batch", "losses", "masking", "algorithms", "health"]


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(name: str) -> list[Path]:
    folder = Path("scope_openrlhf", name)
    found = list(folder.glob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    assert found
    return found


def test_only_the_host_files_import_openrlhf():
    for file in Path("scope_openrlhf").rglob("*.py"):
        uses = any(name.split(".")[0] in ("openrlhf", "deepspeed") for name in imports(file))
        assert not uses or file.name in HOST, file


def test_equations_and_algorithms_import_no_engine():
    for file in [file for name in FLOW for file in files(name)]:
        assert not {n.split(".")[0] for n in imports(file)} & {
            "ray",
            "vllm",
            "openrlhf",
            "deepspeed",
            "lm_eval",
            "scope_eval",
        }, file


def test_imports_follow_the_flow():
    for position, name in enumerate(FLOW):
        later = {f"scope_openrlhf.{n}" for n in FLOW[position + 1 :]} | {f"scope_openrlhf.{f[:-3]}" for f in HOST}
        for file in files(name):
            assert not imports(file) & later, file


def test_the_package_does_not_import_the_harness():
    for file in Path("scope_openrlhf").rglob("*.py"):
        assert not any(name.startswith("scope_eval") for name in imports(file)), file


def test_rollout_defines_no_class_that_would_travel():
    """OpenRLHF loads rollout.py under another name, so what it defines is pickled by value: seconds a step, for a small dataclass."""
    classes = [
        node.name
        for node in ast.parse(Path("scope_openrlhf/host/rollout.py").read_text()).body
        if isinstance(node, ast.ClassDef)
    ]
    assert classes == ["AgentExecutor", "ScopeSamplesGenerator"]
