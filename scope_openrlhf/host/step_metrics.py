"""What the driver writes of a step's rollouts: numbers of the teacher's work, and a few rollouts as text."""

from collections import Counter
from typing import Any

from scope_openrlhf.algorithms.base.contract import Algorithm
from scope_openrlhf.equations.health import overlap
from scope_openrlhf.equations.repetition import ends_in_a_loop
from scope_openrlhf.host import luggage
from scope_openrlhf.host.luggage import Scored
from scope_openrlhf.host.sampled import Kept
from scope_openrlhf.settings.resolved import Run
from scope_openrlhf.teacher.contract import Score, TeacherError


def failures_of(rollouts: list) -> list[TeacherError]:
    """Why rollouts of a step could not be scored on their own prompt."""
    return [s.score for s in map(_scored, rollouts) if isinstance(s.score, TeacherError)]


def routes_of(rollouts: list) -> list[str]:
    """The route of each rollout. To be taken before OpenRLHF's own train_step, as `work_metrics`."""
    return [_scored(r).attempt.route for r in rollouts]


def rollout_rows(
    rollouts: list, routes: list[str], kept: list[Kept], step: int, tokenizer: Any
) -> list[dict[str, Any]]:
    """Rows of rollouts.jsonl. rollouts: all Experiences of the step, of one rollout each."""
    rows = []
    for k in kept:
        r, (problem, _) = rollouts[k.index], luggage.unpack_label(rollouts[k.index].labels[0])
        token_ids = r.sequences[0][1:][r.action_mask[0].bool()]
        pieces = tokenizer.batch_decode([[token] for token in r.sequences[0][1:][k.positions].tolist()])
        rows.append(
            {"step": step, "id": problem.id, "prompt": r.prompts[0], "answer": problem.answer,
             "response": tokenizer.decode(token_ids), "route": routes[k.index], "truncated": bool(r.truncated[0]),
             "length": len(token_ids), "tokens": pieces, **k.numbers}
        )  # fmt: skip
    return rows


def work_metrics(rollouts: list, run: Run, algorithm: Algorithm) -> dict[str, float]:
    """Metrics of grader, teacher and traces over a step's rollouts, each an Experience of one rollout.

    To be taken before OpenRLHF's own train_step, which takes the luggage out.
    """
    scored = [_scored(r) for r in rollouts]
    answered = [(r, s) for r, s in zip(rollouts, scored, strict=True) if isinstance(s.score, Score)]
    failed = len(failures_of(rollouts))
    seconds, hidden = overlap([(s.asked, s.answered) for _, s in answered], max(s.asked for s in scored))
    metrics: dict[str, float] = {
        "teacher_temperature": run.teacher_temperature,
        "grader_failed": float(sum(map(luggage.grader_failed_of, rollouts))),
        "repeating": float(sum(ends_in_a_loop(s.attempt.response) for s in scored)),
        "teacher_scored": len(answered),
        "teacher_failed": failed,
        "teacher_skipped": len(scored) - len(answered) - failed if run.teachers else 0,
        # of the sequences that the teacher scored, prompt and response
        "teacher_tokens": sum(int(r.attention_mask.sum()) for r, _ in answered),
    }
    problems = [luggage.unpack_label(r.labels[0])[0] for r in rollouts]
    if algorithm.asks.hinted_prompts:
        metrics |= {f"trace_{what}": sum(getattr(p, what) for p in problems) for what in ("hinted", "leaks")}
    if len(run.teachers) > 1:
        by_name = Counter(p.teacher for p, s in zip(problems, scored, strict=True) if s.score is not None)
        metrics |= {f"teacher_asked_{name or 'default'}": by_name[name] for name in run.teachers}
    return metrics | {"timing/teacher": seconds, "teacher_hidden": hidden}


def context_work(
    work: dict[str, float], contexts: dict[str, float], seconds: float, algorithm: Algorithm, num: int, step: int
) -> dict[str, float]:
    """What changes in `work_metrics` of `num` rollouts once they were scored under the algorithm's contexts.

    contexts: the metrics context_* of the step; seconds: what the scores took; step: rollout batches trained on before.
    """
    if not algorithm.asks.contexts:
        return {}
    if not algorithm.asks.contexts_by_teacher:
        return {"timing/context": seconds}
    total = {f"teacher_{k}": work[f"teacher_{k}"] + contexts[f"context_{k}"] for k in ("scored", "failed", "tokens")}
    asked = num * len(algorithm.contexts_at(step))
    skipped = asked - total["teacher_scored"] - total["teacher_failed"]
    return total | {
        "teacher_skipped": skipped,
        "timing/teacher": work["timing/teacher"] + seconds,
        "timing/context": seconds,
    }


def _scored(rollout: Any) -> Scored:
    """The luggage of an Experience of one rollout."""
    return luggage.scored_of(rollout)[0]
