"""The loss of a micro-batch: each path of the algorithm divided by its own count over the whole optimiser step."""

from types import SimpleNamespace

import torch
from torch import Tensor

from scope_openrlhf.algorithms.base.contract import Algorithm
from scope_openrlhf.equations import health, losses
from scope_openrlhf.equations.batch import LossInput, TopK
from scope_openrlhf.equations.vocabulary import NOT_SCORED, Reading


class PathLoss(torch.nn.Module):
    """Stands where OpenRLHF's PolicyLoss stood, with the same call.

    `bind` and `take` tell it the rest of a micro-batch before that.
    """

    def __init__(self, algorithm: Algorithm, correction: SimpleNamespace | None = None) -> None:
        """correction: OpenRLHF's `algo.advantage` flags, of which is_correction_* are read; None corrects nothing."""
        super().__init__()
        self.algorithm, self.correction = algorithm, correction
        self.path_losses: dict[str, Tensor] = {}
        self.path_sums: dict[str, Tensor] = {}
        self.reading: Reading | None = None
        self.topk: TopK | None = None
        self.topk_ids_NTK: Tensor | None = None
        """The teacher's likeliest tokens, which `take` wants the student's log-probs of."""

    def bind(self, weight_N: Tensor, path_N: Tensor, path_counts_P: Tensor, topk: list | None, width: int) -> None:
        """Take what belongs to the rows of the micro-batch.

        path_counts_P: tokens or sequences of each path in the whole optimiser step, over DeepSpeed's accumulation
        steps. topk: for each row the teacher's (ids, log-probs), both (T_i, K), T_i = 0 where it was not scored; None
        without top-k. width: T.
        """
        self.weight_N, self.path_N, self.path_counts_P = weight_N, path_N, path_counts_P
        self.topk_ids_NTK, self.teacher_NTK, self.topk, self.reading = None, None, None, None
        if self.algorithm.asks.top_k:
            assert topk is not None  # it rides along with every row
            self.topk_ids_NTK, self.teacher_NTK = pad_topk(topk, width, self.algorithm.asks.top_k, weight_N.device)

    def take(self, reading: Reading) -> None:
        """Take what the student's forward read of its vocabulary: numbers for the metrics, its side of a top k."""
        self.reading = reading
        if self.teacher_NTK is not None:
            self.topk = TopK(reading.topk, losses.with_tail(self.teacher_NTK))

    def forward(self, log_probs, old_log_probs, advantages, action_mask=None, rollout_log_probs=None,
                dp_size=1, batch_num_tokens=None, global_batch_size=None):  # fmt: skip
        mask = action_mask.float()
        weight_NT = self.weight_N[:, None] * mask
        if self.algorithm.knobs.normalize == "sequences":
            weight_NT = weight_NT / mask.sum(dim=1, keepdim=True).clamp(min=1)
        tokens = mask.sum().clamp(min=1)
        engine_kl = filtered = None
        if self.correction and self.correction.is_correction_level != "off":
            c = self.correction
            ratio_NT, outside_NT = losses.importance_weight(
                old_log_probs, rollout_log_probs, action_mask.bool(), c.is_correction_level, c.is_correction_mode,
                c.is_correction_gating, *c.is_correction_threshold,
            )  # fmt: skip
            weight_NT = weight_NT * ratio_NT
            by_rollout = c.is_correction_level == "seq"
            filtered = outside_NT.any(dim=1).float().mean() if by_rollout else outside_NT.sum() / tokens
            engine_kl = ((rollout_log_probs - old_log_probs) * mask).sum() / tokens
        # off the mask, log-probs and advantages are zeros or padding: they meet a weight of zero
        batch = LossInput(log_probs, old_log_probs, advantages, weight_NT, self.path_N, self.topk)
        of_path = self.algorithm.loss(batch)
        counts = {name: self.path_counts_P[p].clamp(min=1e-8) for p, name in enumerate(self.algorithm.paths)}
        self.path_losses = {name: of_path[name][0] / count * dp_size for name, count in counts.items()}
        self.path_sums = self._describe(of_path, log_probs, weight_NT)
        loss = torch.stack(list(self.path_losses.values())).sum()
        clipped = sum((sums.get("clip_ratio", torch.zeros(())) for _, sums in of_path.values()), torch.zeros(()))
        ppo_kl = ((old_log_probs - log_probs).detach() * mask).sum() / tokens
        return loss, clipped / tokens, ppo_kl, engine_kl, filtered

    def _describe(self, of_path: dict, log_probs: Tensor, weight_NT: Tensor) -> dict[str, Tensor]:
        """Sums over the micro-batch's tokens of each path, for health.path_health."""
        described: dict[str, Tensor] = {}
        for p, name in enumerate(self.algorithm.paths):
            on_path_NT = (weight_NT != 0) & (self.path_N == p)[:, None]
            described |= {f"{metric}_{name}": value for metric, value in of_path[name][1].items()}
            described[f"tokens_{name}"] = on_path_NT.sum()
            if self.reading is not None and self.reading.spread is not None:
                described[f"entropy_{name}"] = (self.reading.spread * on_path_NT).sum()
                described[f"grad_{name}"] = self._gradient_square(self.path_losses[name], log_probs, self.reading)
        return described

    def _gradient_square(self, loss: Tensor, log_probs: Tensor, reading: Reading) -> Tensor:
        """Squared norm of a path's gradient at the logits.

        The graph down to the log-probs is elementwise, so this costs no backward of the model.
        """
        total = torch.zeros((), device=loss.device)
        (sampled,) = torch.autograd.grad(loss, log_probs, retain_graph=True, allow_unused=True)
        if sampled is not None:
            logp_NT = log_probs.detach()
            others_NT = torch.log(-torch.expm1(logp_NT.clamp(max=-1e-7)))  # of all tokens but the sampled one
            grad_NTJ = torch.stack([sampled, torch.zeros_like(sampled)], dim=-1)
            logp_NTJ = torch.stack([logp_NT, others_NT], dim=-1)
            total += health.logit_gradient_square(grad_NTJ, logp_NTJ, reading.concentration)
        if self.topk is not None:
            student_NTJ = self.topk.student_logp_NTJ
            (of_topk,) = torch.autograd.grad(loss, student_NTJ, retain_graph=True, allow_unused=True)
            if of_topk is not None:
                read_NT = student_NTJ[..., 0].isfinite()
                assert reading.topk_concentration is not None  # it comes with the other metrics
                student, others = student_NTJ[read_NT].detach(), reading.topk_concentration[read_NT]
                total += health.logit_gradient_square(of_topk[read_NT], student, others)
        return total


def pad_topk(rows: list, width: int, top_k: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The top-k of each row, (ids, log-probs) of (T_i, K), as two (N, width, K), NOT_SCORED and NaN elsewhere."""
    ids = torch.full((len(rows), width, top_k), NOT_SCORED, dtype=torch.long)
    logp = torch.full((len(rows), width, top_k), torch.nan)
    for i, (row_ids, row_logp) in enumerate(rows):
        ids[i, : len(row_ids)], logp[i, : len(row_logp)] = row_ids.long(), row_logp
    return ids.to(device), logp.to(device)


def path_counts(algorithm: Algorithm, path_N: Tensor, mask_NT: Tensor) -> Tensor:
    """Number of tokens, or of sequences with a token, of each path among N rows: (P,) float64."""
    tokens_N = mask_NT.sum(dim=1).double()
    count_N = tokens_N if algorithm.knobs.normalize == "tokens" else (tokens_N > 0).double()
    on_path = path_N >= 0
    counts_P = torch.zeros(len(algorithm.paths), dtype=torch.float64)
    return counts_P.index_add(0, path_N[on_path], count_N[on_path])
