"""The driver's stage between rollouts and update: OpenRLHF's experience maker, with the algorithm's weights in it. [host]"""

import functools
from dataclasses import replace

import torch
import transformers
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker
from torch import Tensor

from scope_openrlhf.algorithms.base import Algorithm
from scope_openrlhf.batch import Rollouts, Signal
from scope_openrlhf.checks import positions
from scope_openrlhf.data import as_messages
from scope_openrlhf.health import step_health
from scope_openrlhf.routing import mask_tails
from scope_openrlhf.weights import require_finite


class ScopeExperienceMaker(RemoteExperienceMaker):
    """Rollouts with the student's log-probs (OpenRLHF's forward) and the teacher's -> advantages, weights and paths."""

    def __init__(self, algorithm: Algorithm, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.algorithm = algorithm
        self.metrics: dict[str, float] = {}
        self.step = 0
        """Rollout batches trained on so far; the trainer sets it."""

    @torch.no_grad()
    def compute_advantages_and_returns(self, experiences):
        """Replaces OpenRLHF's reward shaping and advantage estimators by `Algorithm.weigh` over the whole step."""
        knobs = self.algorithm.config
        rollouts, dropped_N = collect_rollouts(experiences, self.args.rollout.n_samples_per_prompt)
        rollouts = replace(
            rollouts, step=self.step, context_logp={c: self._score_under(c, experiences, rollouts) for c in self.algorithm.contexts}
        )
        if knobs.truncated == "mask_tail":
            rollouts = replace(rollouts, mask_NT=mask_tails(rollouts.mask_NT, rollouts.truncated_N, knobs.masked_tail))
        signal, self.metrics = weigh_kept(self.algorithm, rollouts, ~dropped_N)
        for e in experiences:
            rows, width = torch.tensor(e.index), e.action_mask.shape[1]
            e.action_mask = rollouts.mask_NT[rows, :width].to(e.action_mask.dtype)
            e.advantages = signal.advantage_NT[rows, :width].float()
            e.returns = e.advantages
            e.info["weight"] = signal.weight_N[rows].float()
            e.info["path"] = signal.path_N[rows]
            e.info["return"] = e.rewards.float()
            del e.info["teacher_log_probs"], e.info["scored"]  # the loss needs none of it: its part is in the advantages
            e.kl = None
        return experiences

    def _score_under(self, context: str, experiences, rollouts: Rollouts) -> Tensor:
        """Log p of each response token by the student, shown the algorithm's hint: (N, T), NaN rows where it gives none.

        One forward of the training engine over the same micro-batches, so at the same temperature as the student's own log-probs.
        """
        n = self.args.rollout.n_samples_per_prompt
        attempts = {i: scored.attempt for e in experiences for i, scored in zip(e.index, e.info["scored"], strict=True)}
        hints = {i: self.algorithm.hint(context, i % n, [attempts[j] for j in range(i - i % n, i - i % n + n)]) for i in attempts}
        batches = [
            hinted_batch(self.tokenizer, [(attempts[i].prompt, hints[i] or "") for i in e.index], responses(e), self._student_positions)
            for e in experiences
        ]
        names = ("sequences", "action_mask", "attention_mask")
        refs = self._dispatch_forward(
            self.actor_model_group, self.args.train.colocate_all, **{name: [b[i] for b in batches] for i, name in enumerate(names)}
        )
        scored = self._flatten_results(refs, self.args.ds.ring_attn_size * self.args.ds.tensor_parallel_size)
        logp_NT = torch.full_like(rollouts.student_logp_NT, torch.nan)
        for e, (_, mask, _), logp in zip(experiences, batches, scored, strict=True):
            for row, i in enumerate(e.index):
                if hints[i] is not None:
                    logp_NT[i, rollouts.mask_NT[i]] = logp[row][mask[row].bool()].to(logp_NT.dtype)
        return logp_NT

    @functools.cached_property
    def _student_positions(self) -> int:
        return positions(transformers.AutoConfig.from_pretrained(self.args.actor.model_name_or_path))


def responses(experience) -> list[Tensor]:
    """The response tokens of each row."""
    return [ids[1:][mask.bool()] for ids, mask in zip(experience.sequences, experience.action_mask, strict=True)]


def hinted_batch(tokenizer, prompts: list, responses: list[Tensor], max_positions: int) -> tuple[Tensor, Tensor, Tensor]:
    """(prompt, hint) pairs and their responses -> sequences (N, S), action mask (N, S - 1) and attention mask (N, S), padded right.

    The hint stands at the end of the last message. Raises ValueError if a sequence is longer than the student's max_positions.
    """
    rows = []
    for (prompt, hint), response in zip(prompts, responses, strict=True):
        *before, last = as_messages(prompt)
        messages = [*before, last | {"content": last["content"] + hint}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        rows.append((tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"][0], response))
    width = max(len(p) + len(r) for p, r in rows)
    if width > max_positions:
        raise ValueError(
            f"a rollout with its hint has {width} tokens, the student has {max_positions} positions; lower openrlhf.data.max_len"
        )
    sequences, masks = torch.full((len(rows), width), tokenizer.pad_token_id), torch.zeros(2, len(rows), width, dtype=torch.long)
    for i, (p, r) in enumerate(rows):
        sequences[i, : len(p) + len(r)] = torch.cat([p, r])
        masks[0, i, : len(p) + len(r)] = 1
        masks[1, i, len(p) : len(p) + len(r)] = 1
    return sequences, masks[1][:, 1:], masks[0]


def weigh_kept(algorithm: Algorithm, rollouts: Rollouts, keep_N: Tensor) -> tuple[Signal, dict[str, float]]:
    """`Algorithm.weigh` and the step's metrics over the kept rollouts; the others get path -1 and leave their group's normalisation."""
    num = len(keep_N)
    if not keep_N.any():
        raise ValueError(
            f"all {num} rollouts of a step were dropped ({int(rollouts.truncated_N.sum())} of them truncated), so there is nothing to train on; "
            "raise openrlhf.rollout.max_new_tokens, set algorithm.truncated=wrong, or look at the grader's failures in metrics.jsonl"
        )
    signal = Signal(torch.zeros_like(rollouts.student_logp_NT), torch.zeros(num, dtype=torch.float64), torch.full((num,), -1))
    metrics = {"rollouts": float(num), "dropped": float((~keep_N).sum()), "truncated": float(rollouts.truncated_N.sum())}
    require_finite(rollouts.student_mean_N, keep_N)
    kept = rollouts.select(keep_N)
    of_kept = algorithm.weigh(kept)
    for name in ("advantage_NT", "weight_N", "path_N"):
        whole = getattr(signal, name)
        whole[keep_N] = getattr(of_kept, name).to(whole.dtype)
    return signal, metrics | step_health(kept, of_kept, algorithm.paths) | of_kept.metrics


def collect_rollouts(experiences, samples_per_prompt: int) -> tuple[Rollouts, Tensor]:
    """Put the micro-batches of a step back into one table, in the order of the rollouts: row i is rollout i. And which are dropped."""
    num = sum(len(e.index) for e in experiences)
    width = max(e.action_mask.shape[1] for e in experiences)
    student, teacher = torch.zeros(num, width), torch.full((num, width), torch.nan)
    mask = torch.zeros(num, width, dtype=torch.bool)
    right, truncated, dropped = (torch.zeros(num, dtype=torch.bool) for _ in range(3))
    for e in experiences:
        for row, i in enumerate(e.index):
            t = e.action_mask.shape[1]
            student[i, :t] = e.action_log_probs[row]
            mask[i, :t] = e.action_mask[row].bool()
            score = e.info["teacher_log_probs"][row]
            teacher[i, : len(score)] = score
            right[i], truncated[i], dropped[i] = e.rewards[row] > 0.5, bool(e.truncated[row]), bool(e.info["dropped"][row])
    return Rollouts(student, teacher, mask, right, truncated, torch.arange(num) // samples_per_prompt), dropped
