"""Definitions of the metrics: every key that can stand in a row of metrics.jsonl, once.

A new one is defined here and computed where its numbers are: host/step_metrics.py (of rollouts, verdicts and the
teacher's work), health.py (of the tables of a step), or the algorithm itself. `make docs` then writes docs/metrics.md.

What an algorithm adds it declares itself (`Algorithm.metrics`). In a name, <path> stands for each path of the
algorithm's loss, <verdict> for right and wrong, <teacher> for the name of a teacher in the config. A rollout is kept
when it is not dropped. A number that a step does not have is null, never 0.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

VERDICTS = ("right", "wrong")


@dataclass(frozen=True, slots=True)
class Metric:
    """Definition of a number of a step.

    Example: Metric("grad_norm", "Norm of the gradient.", "value of the last optimiser step", "actor_grad_norm")
    """

    name: str
    """As in metrics.jsonl; a key of the object `seconds` is written seconds.<key>."""
    meaning: str
    """A sentence."""
    taken: str
    """How the step's number is made: a count, a share of what, or the mean over what."""
    openrlhf: str = ""
    """OpenRLHF's own name, where ours is another."""


_PROMPTS = "share of prompts with a kept rollout"
_BY_VERDICT = "the kept rollouts of each verdict"
_SCORED = "the kept rollouts of each verdict that it scored"
_ON_PATH = "the path's rollouts"
_TOKENS = "mean over the path's tokens"
_SOME = "on the steps that health.every names"
_UPDATES = "mean over the optimiser steps, each by its response tokens"

COMMON: tuple[Metric, ...] = (
    Metric("step", "Number of the rollout batch, from 1.", "count"),
    Metric("of", "Number of rollout batches in the run.", "count"),
    # what was sampled
    Metric("rollouts", "Rollouts of the step.", "count"),
    Metric(
        "dropped",
        "Rollouts that train nothing: the grader, the teacher or algorithm.truncated says so, or they hold no token.",
        "count",
    ),
    Metric("truncated", "Rollouts that the length limit cut.", "count"),
    Metric("repeating", "Rollouts that end in a loop: one piece 4 times or more, over 200 characters.", "count"),
    Metric("grader_failed", "Rollouts on which the grader could not decide.", "count"),
    Metric("right", "Rollouts that are right and kept.", "count"),
    Metric("wrong", "Rollouts that are wrong and kept.", "count"),
    Metric("reward", "1 for a right rollout, 0 for a wrong one.", "mean over kept rollouts"),
    Metric("groups_all_right", "Prompts whose kept rollouts are all right.", _PROMPTS),
    Metric("groups_all_wrong", "Prompts whose kept rollouts are all wrong.", _PROMPTS),
    Metric("groups_mixed", "Prompts with right and wrong rollouts among the kept ones.", _PROMPTS),
    Metric("response_length", "Response tokens of a rollout, without a masked tail.", "mean over kept rollouts"),
    Metric("total_length", "Tokens of a rollout, prompt and response.", "mean over rollouts"),
    Metric(
        "dynamic_filtering_pass_rate",
        "Rollouts that OpenRLHF's dynamic filtering let pass.",
        "count for 100 prompts drawn",
    ),
    # log-probs of student and teacher; perplexity of a rollout = exp(-mean log-prob of its response tokens)
    Metric("temperature", "Temperature of the student's samples and log-probs.", "setting"),
    Metric("teacher_temperature", "Temperature of the teacher's log-probs.", "setting"),
    Metric("reverse_kl", "log p_S - log p_T of a sampled token.", "mean over response tokens that the teacher scored"),
    Metric(
        "ppl_student_<verdict>", "Perplexity of a rollout by the student that sampled it.", f"mean over {_BY_VERDICT}"
    ),
    Metric("ppl_student_<verdict>_p10", "Perplexity by the student: its lower end.", f"first decile of {_BY_VERDICT}"),
    Metric("ppl_student_<verdict>_p90", "Perplexity by the student: its upper end.", f"last decile of {_BY_VERDICT}"),
    Metric("ppl_teacher_<verdict>", "Perplexity of a rollout by the teacher.", f"mean over {_SCORED}"),
    Metric("ppl_teacher_<verdict>_p10", "Perplexity by the teacher: its lower end.", f"first decile of {_SCORED}"),
    Metric("ppl_teacher_<verdict>_p90", "Perplexity by the teacher: its upper end.", f"last decile of {_SCORED}"),
    # weights and members of each path
    Metric("weight_min_<path>", "Smallest weight of a rollout.", f"minimum over {_ON_PATH}"),
    Metric("weight_max_<path>", "Largest weight of a rollout.", f"maximum over {_ON_PATH}"),
    Metric("weight_entropy_<path>", "How even the weights are; 1 = uniform.", f"entropy over log n of {_ON_PATH}"),
    Metric("weight_ess_<path>", "Effective sample size of the weights; 1 = uniform.", f"share of {_ON_PATH}"),
    Metric("rollouts_<path>", "Rollouts on the path.", "count"),
    Metric("length_<path>", "Response tokens of a rollout, without a masked tail.", f"mean over {_ON_PATH}"),
    Metric("truncated_<path>", "Rollouts on the path that the length limit cut.", f"share of {_ON_PATH}"),
    # the loss, by path: only those that the path's loss has
    Metric("loss_<path>", "The path's loss.", _UPDATES),
    Metric(
        "grad_share_<path>",
        "The path's part of the gradient; the shares add up to 1, for paths hold different tokens.",
        f"share of the squared norm at the logits, {_SOME}",
    ),
    Metric("entropy_<path>", "Entropy of the student's next token, in nats.", f"{_TOKENS}, {_SOME}"),
    Metric("nll_<path>", "-log p_S of a sampled token, unweighted.", _TOKENS),
    Metric("clip_ratio_<path>", "Tokens whose probability ratio the PPO clip replaced.", "share of the path's tokens"),
    Metric("kl_<path>", "The divergence of algorithm.divergence, unweighted.", _TOKENS),
    Metric("student_tail_<path>", "The student's mass outside the teacher's top k, which these cannot steer.", _TOKENS),
    # the update as a whole
    Metric("loss", "Sum of the paths' losses.", _UPDATES, "policy_loss"),
    Metric("ppo_clip_ratio", "Tokens whose probability ratio the PPO clip replaced.", "share of response tokens"),
    Metric("ppo_kl", "log p_old - log p: how far the student moved since it sampled.", "mean over response tokens"),
    Metric("entropy_loss", "OpenRLHF's own entropy, with openrlhf.actor.entropy_coef=0.", "mean over response tokens"),
    Metric(
        "vllm_kl",
        "log p by the rollout engine - log p by the trainer, with an importance-sampling correction.",
        "mean over response tokens",
    ),
    Metric(
        "is_filter_ratio",
        "What lies outside the band of the importance-sampling correction.",
        "share of response tokens, or of rollouts at level seq",
    ),
    Metric("grad_norm", "Norm of the gradient.", "value of the last optimiser step", "actor_grad_norm"),
    Metric("learning_rate", "Learning rate.", "value of the last optimiser step", "actor_lr"),
    # whom the teacher and the contexts took
    Metric("teacher_scored", "Rollouts that the teacher scored, once for each context where it scores those.", "count"),
    Metric("teacher_failed", "Rollouts that the teacher should have scored and could not.", "count"),
    Metric("teacher_skipped", "Rollouts that the teacher did not have to score.", "count"),
    Metric("teacher_asked_<teacher>", "Rollouts that this one of several teachers was asked to score.", "count"),
    Metric("teacher_tokens", "Tokens of the sequences that the teacher scored, prompt and response.", "count"),
    Metric(
        "teacher_hidden", "Time of the teacher in which other rollouts were still generated.", "share of its seconds"
    ),
    Metric("context_scored", "Rollouts that were scored under a context, once for each.", "count"),
    Metric("context_failed", "Rollouts that the teacher could not score under a context.", "count"),
    Metric("context_too_long", "Rollouts that did not fit the model beside the hint and were left out.", "count"),
    Metric("context_tokens", "Tokens of the sequences that were scored under a context, hint included.", "count"),
    # seconds.teacher and seconds.context run inside others, so the total leaves them out
    Metric(
        "seconds.generate",
        "Generation, with the verifier and the teacher at work beside it.",
        "seconds",
        "timing/generation",
    ),
    Metric("seconds.experience", "The student's log-probs, contexts and weights.", "seconds", "timing/make_experience"),
    Metric("seconds.update", "The optimiser.", "seconds", "timing/ppo_train"),
    Metric("seconds.sync", "Sending the params to the rollout engines.", "seconds", "timing/broadcast"),
    Metric("seconds.teacher", "The teacher at work, inside generate or experience.", "seconds", "timing/teacher"),
    Metric("seconds.context", "Scoring under contexts, inside experience.", "seconds", "timing/context"),
    Metric("seconds.total", "The stages one after another.", "sum of seconds"),
)

INSIDE_OTHERS = ("teacher", "context")
"""Keys of `seconds` that run inside other stages, so that the total leaves them out."""

SECONDS = {m.openrlhf: m.name.removeprefix("seconds.") for m in COMMON if m.name.startswith("seconds.") and m.openrlhf}
"""Name in OpenRLHF's status -> key of `seconds`, in the order of the row."""

RENAMED = {m.openrlhf: m.name for m in COMMON if m.openrlhf and not m.name.startswith("seconds.")}
"""Name in OpenRLHF's status -> name in metrics.jsonl."""

LEFT_OUT = ("generated_samples", "weight", "return", "response_clip_ratio", "logprobs_diff", "kl", "score")
"""Names in OpenRLHF's status that metrics.jsonl leaves out: texts, numbers that are always 0 here, and doubles."""

LEFT_OUT_PREFIXES = ("rollout/", "timing/")
"""Beginnings of names in OpenRLHF's status that metrics.jsonl leaves out; SECONDS holds what is kept of the times."""


def definition(name: str, paths: Iterable[str], of_algorithm: Iterable[Metric]) -> Metric | None:
    """Definition of a key of metrics.jsonl, None where there is none. Of a key inside `seconds`, name is seconds.<key>.

    paths: of the algorithm that trained. of_algorithm: what it adds, `Algorithm.metrics`.
    """
    stands_for = {"<path>": "|".join(map(re.escape, paths)), "<verdict>": "|".join(VERDICTS), "<teacher>": ".+"}
    for metric in (*COMMON, *of_algorithm):
        pattern = re.escape(metric.name)
        for placeholder, names in stands_for.items():
            pattern = pattern.replace(placeholder, f"(?:{names})")
        if re.fullmatch(pattern, name):
            return metric
    return None
