"""The shape of the contract: short chains of classes, typed knobs, one declaration of what is asked of whom."""

import ast
import dataclasses
import math
from pathlib import Path
from typing import get_args

import pytest
import torch

from scope_openrlhf import algorithms
from scope_openrlhf.algorithms.base.contract import Asks, Knobs
from scope_openrlhf.equations.batch import Rollouts
from scope_openrlhf.equations.metric_definitions import COMMON, definition

ROOTS = {"scope_openrlhf": Path("scope_openrlhf"), "scope_eval": Path("eval")}


def own_classes() -> dict[str, list[str]]:
    """module.Class -> its base classes, those of ours by the same kind of name."""
    found = {}
    for package, root in ROOTS.items():
        for file in root.rglob("*.py"):
            parts = [package, *file.relative_to(root).with_suffix("").parts]
            module = ".".join(part for part in parts if part != "__init__")
            tree = ast.parse(file.read_text())
            classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
            names = {node.name: f"{module}.{node.name}" for node in classes}
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom):
                    names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            for node in classes:
                bases = (ast.unparse(b.value if isinstance(b, ast.Subscript) else b) for b in node.bases)
                split = (base.partition(".") for base in bases)
                found[names[node.name]] = [names.get(first, first) + dot + rest for first, dot, rest in split]
    return found


def chain(name: str, classes: dict[str, list[str]]) -> int:
    """Number of own classes from this one up to its root."""
    return 1 + max((chain(base, classes) for base in classes[name] if base in classes), default=0)


def test_no_chain_of_own_classes_is_longer_than_three():
    classes = own_classes()
    lengths = {name: chain(name, classes) for name in classes}
    assert lengths["scope_openrlhf.algorithms.grpo.Grpo"] == 3  # Grpo, PolicyGradient, Algorithm
    assert lengths["scope_openrlhf.algorithms.scope.ScopeKnobs"] == 3  # ScopeKnobs, DistilKnobs, Knobs
    assert {name: length for name, length in lengths.items() if length > 3} == {}


def test_nothing_in_algorithms_goes_around_the_type_checker():
    for file in Path("scope_openrlhf/algorithms").rglob("*.py"):
        assert "type: ignore" not in file.read_text(), file


@pytest.mark.parametrize("name", algorithms.known())
def test_the_knobs_that_an_algorithm_parses_are_those_that_its_code_is_typed_with(name):
    algorithm = algorithms.load(name)
    (base,) = type(algorithm).__orig_bases__
    assert get_args(base) == (algorithm.Config,)
    assert type(algorithm.knobs) is algorithm.Config and issubclass(algorithm.Config, Knobs)


def test_a_teacher_group_is_needed_by_whom_the_teacher_scores_or_whose_contexts_the_student_does_not():
    assert not Asks().teacher and not Asks(contexts=("c",)).teacher
    assert Asks(teacher_scores=("wrong",)).teacher and not Asks(teacher_scores=("wrong",)).contexts_by_teacher
    for scorer in ("initial", "teacher"):
        asks = Asks(contexts=("c",), context_scorer=scorer)
        assert asks.teacher and asks.contexts_by_teacher


@pytest.mark.parametrize(
    ("name", "knobs", "asks"),
    [
        ("scope", {}, Asks(teacher_scores=("wrong",))),
        ("scope", {"divergence": "topk_jsd", "top_k": 4}, Asks(teacher_scores=("wrong",), top_k=4)),
        ("opd", {}, Asks(teacher_scores=("right", "wrong"))),
        ("grpo", {}, Asks()),
        ("rloo", {}, Asks()),
        ("reinforce_baseline", {}, Asks()),
        ("rlsd", {}, Asks(contexts=("with_answer",))),
        ("rlsd", {"context_scorer": "teacher"}, Asks(contexts=("with_answer",), context_scorer="teacher")),
        ("cepo", {}, Asks(contexts=("with_right", "with_wrong"))),
        ("smepo", {}, Asks(traces=True, hinted_prompts=True)),
        ("smepo", {"ratio": 0}, Asks()),
        ("opsd", {}, Asks(contexts=("privileged",), context_scorer="initial", traces=True)),
        ("opsd", {"hint": "{answer}"}, Asks(contexts=("privileged",), context_scorer="initial")),
        ("sdpo", {}, Asks(contexts=("privileged",), context_scorer="initial")),
        ("sdpo", {"context_scorer": "student"}, Asks(contexts=("privileged",))),
    ],
)
def test_each_algorithm_declares_in_one_place_what_it_asks_of_whom(name, knobs, asks):
    assert algorithms.load(name, **knobs).asks == asks


@pytest.mark.parametrize("name", algorithms.known())
def test_what_an_algorithm_adds_to_a_step_is_defined_by_it(name):
    algorithm = algorithms.load(name)
    logp = torch.full((4, 1), -1.0)
    right = torch.tensor([True, False, True, False])
    mask, group = torch.ones(4, 1, dtype=torch.bool), torch.tensor([0, 0, 1, 1])
    contexts = dict.fromkeys(algorithm.asks.contexts, logp)
    rollouts = Rollouts(logp, logp, mask, right, ~right, group, context_logp=contexts)
    assert {m.name for m in algorithm.metrics} & {m.name for m in COMMON} == set()
    assert all(m.meaning.endswith(".") and m.taken for m in algorithm.metrics)
    added = algorithm.weigh(rollouts).metrics
    assert all(math.isfinite(value) for value in added.values())
    for key in added:
        assert definition(key, algorithm.paths, algorithm.metrics) in algorithm.metrics, key
    if not algorithm.asks.hinted_prompts:  # those the host counts
        assert {definition(key, algorithm.paths, algorithm.metrics) for key in added} == set(algorithm.metrics)
    # the rows before and after the end of a schedule
    ended = algorithm.weigh(dataclasses.replace(rollouts, step=10_000)).metrics
    assert ended.keys() <= added.keys()
