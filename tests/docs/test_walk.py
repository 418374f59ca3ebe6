"""The numbers of docs/rollout-to-gradient.md, computed by the functions that the page names."""

import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scope_openrlhf import algorithms
from scope_openrlhf.data.problem import Problem
from scope_openrlhf.equations.batch import Attempt
from scope_openrlhf.equations.routing import Route, route
from scope_openrlhf.host import luggage
from scope_openrlhf.host.experience import collect_rollouts, weigh_kept
from scope_openrlhf.host.path_loss import PathLoss, path_counts
from scope_openrlhf.teacher.contract import Score
from scope_openrlhf.verifier import verify

PAGE = Path(__file__).parents[2] / "docs" / "rollout-to-gradient.md"
SCOPE = algorithms.load("scope")
STUDENT = [[1 / 2, 1 / 2], [1 / 4, 1 / 4], [1 / 2, 1 / 2], [1 / 2, 1 / 2, 1 / 4]]
TEACHER = {2: [1 / 4, 1], 3: [1 / 4, 1 / 8, 1 / 2]}


def said() -> dict:
    """Every name that the page's blocks of Python set."""
    names = {"nan": math.nan, "Problem": Problem}
    given = set(names)
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, names)  # a page of this repository
    return {name: value for name, value in names.items() if name not in given | {"__builtins__"}}


def computed(page: dict) -> dict:
    """The same names, from problems, responses and lengths of the page and the probabilities above."""
    labels = [luggage.pack_label(problem, place) for place, problem in enumerate(page["problems"])]
    problems = [luggage.unpack_label(label)[0] for label in labels for _ in range(2)]
    given = list(zip(problems, page["responses"], page["truncated"], strict=True))
    verdicts = [verify(problem.answer, text).verdict for problem, text, _ in given]
    routes = [route(v, cut, SCOPE.knobs.truncated) for v, cut in zip(verdicts, page["truncated"], strict=True)]
    asked = [i for i, way in enumerate(routes) if way in SCOPE.asks.teacher_scores]
    scores = {i: score(TEACHER[i]) for i in asked}

    experiences = [experience(i, routes[i], *given[i], scores.get(i)) for i in range(4)]
    rollouts, dropped_N = collect_rollouts(experiences, samples_per_prompt=2)
    signal, _ = weigh_kept(SCOPE, rollouts, ~dropped_N)
    both = SimpleNamespace(info={"teacher_log_probs": 0, "scored": 0}, rewards=torch.tensor([1.0, 0.0]))
    luggage.pack_signal(both, signal.weight_N[[0, 3]], signal.path_N[[0, 3]], health=True)

    counts_P = path_counts(SCOPE, signal.path_N, rollouts.mask_NT)
    by_cut, gradient_NT = update(rollouts, signal, counts_P, [[0, 3], [1, 2]])
    logits = torch.tensor([1 / 2, 1 / 4, 1 / 8, 1 / 8]).log().requires_grad_()
    logits.log_softmax(0)[0].backward(gradient_NT[0, 0])
    return {
        "problems": page["problems"], "labels": labels, "responses": page["responses"],
        "truncated": page["truncated"], "verdicts": verdicts, "routes": routes,
        "scores": {i: s.logprobs for i, s in scores.items()},
        "student_logp_NT": rollouts.student_logp_NT, "teacher_logp_NT": rollouts.teacher_logp_NT,
        "mask_NT": rollouts.mask_NT, "right_N": rollouts.right_N, "truncated_N": rollouts.truncated_N,
        "group_N": rollouts.group_N, "ppl_student": (-rollouts.student_mean_N).exp(),
        "ppl_teacher": (-rollouts.teacher_mean_N).exp(), "weight_N": signal.weight_N, "path_N": signal.path_N,
        "advantage_NT": signal.advantage_NT, "info": both.info, "path_counts_P": counts_P,
        "loss_student": [of["student"] for of in by_cut], "loss_teacher": [of["teacher"] for of in by_cut],
        "loss": sum(value for of in by_cut for value in of.values()),
        "gradient_NT": gradient_NT, "gradient_at_logits": logits.grad,
    }  # fmt: skip


def score(probabilities: list[float]) -> Score:
    nothing = np.zeros((len(probabilities), 0))
    return Score(np.arange(len(probabilities)), np.log(np.float32(probabilities)), nothing, nothing)


def experience(i: int, way: Route, problem: Problem, text: str, cut: bool, teacher: Score | None) -> SimpleNamespace:
    """What OpenRLHF has of one rollout, with its luggage."""
    response: dict = {}
    attempt = Attempt(problem=problem, response=text, extracted=None, route=way, truncated=cut)
    luggage.pack_response(response, attempt, teacher, 0.0)
    tokens = len(STUDENT[i])
    found = SimpleNamespace(
        index=[i], action_mask=torch.ones(1, tokens), action_log_probs=torch.tensor([STUDENT[i]]).log(),
        rewards=torch.tensor([response["reward"]]), truncated=torch.tensor([cut]),
        info={"dropped": torch.tensor([response["extra_logs"]["dropped"]])},
    )  # fmt: skip
    luggage.pack_scores(found, response["scored"], top_k=0)
    return found


def update(rollouts, signal, counts_P, cut: list[list[int]]) -> tuple[list[dict], torch.Tensor]:
    """Losses by path of each micro-batch, and the gradient at all log-probs, (N, T)."""
    logp_NT = rollouts.student_logp_NT.clone().requires_grad_()
    losses, loss_of = [], PathLoss(SCOPE)
    for rows in cut:
        loss_of.bind(signal.weight_N[rows], signal.path_N[rows], counts_P, None, width=0)
        old, advantage, mask = (x[rows] for x in (rollouts.student_logp_NT, signal.advantage_NT, rollouts.mask_NT))
        loss_of(logp_NT[rows], old, advantage, mask)[0].backward()
        losses.append({name: value.item() for name, value in loss_of.path_losses.items()})
    assert logp_NT.grad is not None
    return losses, logp_NT.grad


def plain(value):
    """Tensors as lists, flags as numbers."""
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, torch.Tensor | np.ndarray):
        return [plain(v) for v in value.tolist()]
    return [plain(v) for v in value] if isinstance(value, list) else value


def flat(value) -> list:
    if isinstance(value, dict):
        return [x for key, v in value.items() for x in (key, *flat(v))]
    return [x for v in value for x in flat(v)] if isinstance(value, list) else [value]


@pytest.fixture(scope="module")
def page() -> dict:
    return said()


@pytest.fixture(scope="module")
def real(page) -> dict:
    return {name: plain(value) for name, value in computed(page).items()}


def test_the_page_names_what_is_computed_and_nothing_else(page, real):
    assert page.keys() == real.keys()


@pytest.mark.parametrize("name", said())
def test_a_number_of_the_page_is_what_the_package_computes(name, page, real):
    shown, found = flat(page[name]), flat(real[name])
    assert len(shown) == len(found)
    for a, b in zip(shown, found, strict=True):
        assert a == (pytest.approx(b, abs=5e-5, nan_ok=True) if isinstance(b, float) else b)


def test_the_gradient_does_not_depend_on_the_cut_into_micro_batches(page):
    experiences = [
        experience(i, way, Problem(id="1", prompt="", answer=""), "", cut, score(TEACHER[i]) if i in TEACHER else None)
        for i, (way, cut) in enumerate(zip(page["routes"], page["truncated"], strict=True))
    ]
    rollouts, dropped_N = collect_rollouts(experiences, samples_per_prompt=2)
    signal, _ = weigh_kept(SCOPE, rollouts, ~dropped_N)
    counts_P = path_counts(SCOPE, signal.path_N, rollouts.mask_NT)
    for cut in ([[0, 1, 2, 3]], [[0], [1], [2], [3]], [[0, 3], [1, 2]]):
        assert update(rollouts, signal, counts_P, cut)[1].tolist() == [
            pytest.approx(row, abs=5e-5) for row in page["gradient_NT"]
        ]
