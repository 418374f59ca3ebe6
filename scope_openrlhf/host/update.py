"""The optimiser step: OpenRLHF's PPO actor under DeepSpeed, with the algorithm's loss in it. [host]

Each path of the loss is divided by its own count, taken over the whole optimiser step and all data-parallel ranks, so the
gradient does not depend on how the batch is cut into micro-batches.
"""

import contextlib
import functools
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import openrlhf.trainer.ray.ppo_actor as ppo_actor
import ray
import torch
import torch.distributed as dist
from openrlhf.trainer.ray.ppo_actor import ActorPPOTrainer, PolicyModelActor
from openrlhf.utils.loss_utils import iter_grad_accum_global_norm
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recomputed

from scope_openrlhf import algorithms
from scope_openrlhf.algorithms.base import Algorithm
from scope_openrlhf.equations import health, losses
from scope_openrlhf.equations.batch import LossInput, TopK
from scope_openrlhf.files import checkpoint
from scope_openrlhf.platform import cpu
from scope_openrlhf.settings.config import Config

EMA = "moving_average.pt"
"""In a checkpoint, the params' average where the run keeps one. OpenRLHF's checkpoints leave it out."""


class PathLoss(torch.nn.Module):
    """Stands where OpenRLHF's PolicyLoss stood, with the same call. `bind` and `read_logits` tell it the rest of a micro-batch."""

    def __init__(self, algorithm: Algorithm, correction: SimpleNamespace | None = None) -> None:
        """correction: OpenRLHF's `algo.advantage` flags, of which is_correction_* are read; None corrects nothing."""
        super().__init__()
        self.algorithm, self.correction = algorithm, correction
        self.path_losses: dict[str, Tensor] = {}
        self.path_sums: dict[str, Tensor] = {}
        self.vocabulary: tuple[Tensor, Tensor] | None = None
        self.topk: TopK | None = None

    def bind(self, weight_N: Tensor, path_N: Tensor, path_counts_P: Tensor, topk: list | None) -> None:
        """path_counts_P: tokens or sequences of each path in the whole optimiser step, over DeepSpeed's accumulation steps.

        topk: for each row the teacher's (ids, log-probs), both (T_i, K), T_i = 0 where it was not scored; None without top-k.
        """
        self.weight_N, self.path_N, self.path_counts_P = weight_N, path_N, path_counts_P
        self.teacher_topk = topk or []
        self.vocabulary = self.topk = None

    def read_logits(self, logits: Tensor, sequences: Tensor, attention_mask: Tensor, packed: bool) -> None:
        """What of the logits is needed: numbers for the metrics, and the student's log-probs of the teacher's top-k tokens for the loss.

        logits: (N, S, V), or (1, tokens, V) where OpenRLHF packed the rows. sequences, attention_mask: (N, S). Position t predicts token t + 1.
        """
        holds_NS = attention_mask.bool() if packed else torch.ones_like(attention_mask, dtype=torch.bool)
        flat_logits = logits.reshape(-1, logits.shape[-1])

        def flatten(positions: Tensor) -> Tensor:
            """(N, S - 1, ...), one for each position that predicts, to the order of flat_logits."""
            return torch.nn.functional.pad(positions, (0, 0) * (positions.dim() - 2) + (0, 1))[holds_NS]

        def at_positions(flat: Tensor) -> Tensor:
            rows = flat.new_zeros(*holds_NS.shape, *flat.shape[1:])
            rows[holds_NS] = flat
            return rows[:, :-1]

        entropy, concentration = health.vocabulary_health(flat_logits, flatten(sequences[:, 1:, None]))
        self.vocabulary = at_positions(entropy), at_positions(concentration)
        if self.algorithm.top_k:
            ids_NTK, teacher_NTK = pad_topk(
                self.teacher_topk, attention_mask.shape[1] - 1, self.algorithm.top_k, logits.device
            )
            if ids_NTK.max() >= logits.shape[-1]:
                raise ValueError(
                    f"the teacher's top {self.algorithm.top_k} names token {int(ids_NTK.max())}, which the student's {logits.shape[-1]} "
                    "logits do not have; lower algorithm.top_k, or choose a teacher whose vocabulary is not padded further"
                )
            scored = flatten(teacher_NTK[..., :1].isfinite()).squeeze(1)
            rows, ids = flat_logits[scored], flatten(ids_NTK)[scored]
            # in chunks that are made again in the backward: a whole softmax more would not fit beside a large vocabulary
            student = [
                recomputed(losses.student_topk, *part, use_reentrant=False)
                for part in zip(rows.split(256), ids.split(256), strict=True)
            ]
            blank = flat_logits.new_full((len(flat_logits), self.algorithm.top_k + 1), torch.nan)
            self.topk = TopK(
                at_positions(blank.index_put((scored,), torch.cat(student))), losses.with_tail(teacher_NTK)
            )
            self.topk_concentration = health.vocabulary_health(rows, ids)[1]

    def forward(self, log_probs, old_log_probs, advantages, action_mask=None, rollout_log_probs=None,
                dp_size=1, batch_num_tokens=None, global_batch_size=None):  # fmt: skip
        mask = action_mask.float()
        weight_NT = self.weight_N[:, None] * mask
        if self.algorithm.config.normalize == "sequences":
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
            filtered = (
                outside_NT.any(dim=1).float().mean() if c.is_correction_level == "seq" else outside_NT.sum() / tokens
            )
            engine_kl = ((rollout_log_probs - old_log_probs) * mask).sum() / tokens
        # off the mask, log-probs and advantages are zeros or padding: they meet a weight of zero
        of_path = self.algorithm.loss(
            LossInput(log_probs, old_log_probs, advantages, weight_NT, self.path_N, self.topk)
        )
        self.path_losses = {
            name: of_path[name][0] / self.path_counts_P[p].clamp(min=1e-8) * dp_size
            for p, name in enumerate(self.algorithm.paths)
        }
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
            if self.vocabulary is not None:
                entropy_NT, concentration_NT = self.vocabulary
                described[f"entropy_{name}"] = (entropy_NT * on_path_NT).sum()
                described[f"grad_{name}"] = self._gradient_square(self.path_losses[name], log_probs, concentration_NT)
        return described

    def _gradient_square(self, loss: Tensor, log_probs: Tensor, concentration_NT: Tensor) -> Tensor:
        """Of a path's loss at the logits. The graph down to the log-probs is elementwise, so this costs no backward of the model."""
        total = torch.zeros((), device=loss.device)
        (sampled,) = torch.autograd.grad(loss, log_probs, retain_graph=True, allow_unused=True)
        if sampled is not None:
            logp_NT = log_probs.detach()
            others_NT = torch.log(-torch.expm1(logp_NT.clamp(max=-1e-7)))  # of all tokens but the sampled one
            grad_NTJ = torch.stack([sampled, torch.zeros_like(sampled)], dim=-1)
            total += health.logit_gradient_square(grad_NTJ, torch.stack([logp_NT, others_NT], dim=-1), concentration_NT)
        if self.topk is not None:
            (of_topk,) = torch.autograd.grad(loss, self.topk.student_logp_NTJ, retain_graph=True, allow_unused=True)
            if of_topk is not None:
                scored_NT = self.topk.teacher_logp_NTJ[..., 0].isfinite()
                student = self.topk.student_logp_NTJ[scored_NT].detach()
                total += health.logit_gradient_square(of_topk[scored_NT], student, self.topk_concentration)
        return total


def pad_topk(rows: list, width: int, top_k: int, device) -> tuple[Tensor, Tensor]:
    """Each row's (ids, log-probs), both (T_i, K) -> (N, width, K) ids and log-probs; 0 and NaN where nothing was scored."""
    ids, logp = torch.zeros(len(rows), width, top_k, dtype=torch.long), torch.full((len(rows), width, top_k), torch.nan)
    for i, (row_ids, row_logp) in enumerate(rows):
        ids[i, : len(row_ids)], logp[i, : len(row_logp)] = row_ids.long(), row_logp
    return ids.to(device), logp.to(device)


def path_counts(algorithm: Algorithm, path_N: Tensor, mask_NT: Tensor) -> Tensor:
    """(P,) tokens, or sequences with a token, of each path among N rows."""
    tokens_N = mask_NT.sum(dim=1).double()
    count_N = tokens_N if algorithm.config.normalize == "tokens" else (tokens_N > 0).double()
    on_path = path_N >= 0
    return torch.zeros(len(algorithm.paths), dtype=torch.float64).index_add(0, path_N[on_path], count_N[on_path])


class ScopeActorTrainer(ActorPPOTrainer):
    """OpenRLHF's optimiser loop. Adds: the path counts of each optimiser step, our loss, and its metrics by path."""

    def __init__(self, *args, vllm_engines=None, **kwargs) -> None:
        # an engine that cannot start says so here; the group for the params' sync would wait for it in vain
        ray.get([engine.get_num_unfinished_requests.remote() for engine in vllm_engines or ()])
        super().__init__(*args, vllm_engines=vllm_engines, **kwargs)
        self.algorithm = algorithms.load(**Config.of_this_run().algorithm)
        self.actor_loss_fn = PathLoss(self.algorithm, self.args.algo.advantage)
        if not self._shards_logits():
            self.actor.register_forward_hook(self._read_logits, with_kwargs=True)
        ppo_actor.iter_grad_accum_global_norm = functools.partial(iter_windows, self.algorithm)

    def ppo_train(self, kl_ctl):
        # the order of micro-batches follows from the step alone, so that a resumed run repeats an uncut one
        torch.manual_seed(self.args.train.seed + self.actor.model.global_steps)
        return super().ppo_train(kl_ctl)

    def broadcast_to_vllm(self):
        with plain_params(self):
            super().broadcast_to_vllm()

    def _shards_logits(self) -> bool:
        return self.strategy.ring_attn_group is not None or self.args.ds.tensor_parallel_size > 1

    def _read_logits(self, module, args, kwargs, output) -> None:
        if isinstance(output, tuple):  # a training forward; the one that makes experience asks for no logits
            self.actor_loss_fn.read_logits(
                output[1]["logits"], args[0], kwargs["attention_mask"], module.packing_samples
            )

    def training_step(self, experience, kl_ctl, step, loss_batch_info=None):
        device = experience.action_mask.device  # `info` holds lists of numbers, which as_tensor puts on the CPU
        path_N = torch.as_tensor(experience.info.pop("path"), device=device)
        weight_N = torch.as_tensor(experience.info.pop("weight"), device=device)
        counts = experience.__dict__.get("path_counts")
        if counts is None:  # dynamic batching: OpenRLHF hands out no window, the replay buffer knows it
            counts = self._dynamic_path_counts(step)
            # DeepSpeed believes that every backward ends a step and would keep the last micro-batch's gradient alone
            self.actor.model.set_gradient_accumulation_boundary(bool(self.replay_buffer.dynamic_optimizer_step[step]))
        self.actor_loss_fn.bind(weight_N, path_N, counts.to(device), experience.info.pop("teacher_topk", None))
        status = super().training_step(experience, kl_ctl, step, loss_batch_info)
        self._report_paths(status, loss_batch_info, step)
        return status

    def _report_paths(self, status, loss_batch_info, step) -> None:
        """OpenRLHF averages metrics over micro-batches by tokens; a path's loss is a sum over them, so undo that weight."""
        if loss_batch_info is None:
            window_tokens = self.replay_buffer.dynamic_batch_num_tokens[step]
            scale = 1.0 / dist.get_world_size(self.strategy.ds_device_mesh["dp"].get_group())
        else:
            gas = self.strategy.accumulated_gradient
            window_tokens = float(loss_batch_info["batch_num_tokens"]) * gas
            scale = 1.0 / gas / float(loss_batch_info["dp_size"])
        scale *= window_tokens / max(status["num_action_tokens"], 1.0)
        for name, value in self.actor_loss_fn.path_losses.items():
            status["metrics"][f"loss_{name}"] = value.detach() * scale
            status["weights"][f"loss_{name}"] = "token"
        status["metrics"]["policy_loss"] = status["metrics"]["policy_loss"] * scale
        for name, value in self.actor_loss_fn.path_sums.items():  # only their ratios are read: health.path_health
            status["metrics"][f"sum_{name}"] = value.detach() / max(status["num_action_tokens"], 1.0)
            status["weights"][f"sum_{name}"] = "token"

    def _dynamic_path_counts(self, step: int) -> Tensor:
        buffer = self.replay_buffer
        ends = [i for i, last in enumerate(buffer.dynamic_optimizer_step) if last]
        end = next(e for e in ends if e >= step)
        first = max((e + 1 for e in ends if e < step), default=0)
        items = [buffer.items[i] for micro in buffer.dynamic_indices[first : end + 1] for i in micro]
        # a stored item has no batch axis
        counts = sum(
            path_counts(self.algorithm, torch.as_tensor(i.info["path"]).reshape(1), i.action_mask[None]) for i in items
        )
        return _sum_over_ranks(counts, self.strategy)


def _sum_over_ranks(counts: Tensor, strategy) -> Tensor:
    counts = counts.to(torch.cuda.current_device())
    dist.all_reduce(counts, group=strategy.ds_device_mesh["dp"].get_group())
    return counts


def iter_windows(algorithm: Algorithm, data_iter, strategy, accumulated_gradient, mask_fn):
    """OpenRLHF's iterator over optimiser steps, which also gives each micro-batch the path counts of its step.

    Like OpenRLHF's own normalisers the counts come divided by the accumulation steps, which DeepSpeed divides the loss by.
    """
    gas, data_iter = max(int(accumulated_gradient), 1), iter(data_iter)
    while window := list(itertools.islice(data_iter, gas)):
        counts = sum(path_counts(algorithm, torch.as_tensor(e.info["path"]), e.action_mask) for e in window)
        counts = _sum_over_ranks(counts, strategy) / gas
        for experience in window:
            experience.path_counts = counts
        yield from iter_grad_accum_global_norm(iter(window), strategy, accumulated_gradient, mask_fn)


@contextlib.contextmanager
def plain_params(trainer: ActorPPOTrainer) -> Iterator[None]:
    """While it is open the trainer's model shows OpenRLHF's weight sync the names and params of the plain model, LoRA adapters added in.

    OpenRLHF 0.11.2 would send the names of the adapted model, which the rollout engines do not know.
    """
    actor, peft = trainer.actor, trainer.actor.model.module
    if not isinstance(peft, PeftModel):
        yield
        return
    trainer.actor = SimpleNamespace(
        model=SimpleNamespace(module=SimpleNamespace(named_parameters=lambda: merged_params(peft)))
    )
    try:
        yield
    finally:
        trainer.actor = actor


class MergedParam:
    """A param with its adapters added when `data` is read, so that a sync holds one of them at a time. Looks like a Parameter to OpenRLHF."""

    requires_grad = True

    def __init__(self, param: Tensor, layer: LoraLayer | None) -> None:
        self.param, self.layer, self.shape, self.dtype = param, layer, param.shape, param.dtype

    @property
    def data(self) -> Tensor:
        if self.layer is None:
            return self.param.data
        with torch.no_grad():
            adapters = sum(self.layer.get_delta_weight(name) for name in self.layer.active_adapters)  # type: ignore[attr-defined]
            return (self.param + adapters).contiguous()


def merged_params(peft: PeftModel) -> Iterator[tuple[str, MergedParam]]:
    """(name in the plain model, param with its adapters added) of every param; the model itself stays as it is."""
    adapted = {id(m.base_layer.weight): m for m in peft.modules() if isinstance(m, LoraLayer)}
    for name, param in peft.get_base_model().named_parameters():
        if ".lora_" in name:
            continue
        yield name.replace(".base_layer.", "."), MergedParam(param, adapted.get(id(param)))


class ScopePolicyActor(PolicyModelActor.__ray_metadata__.modified_class):
    """OpenRLHF's policy actor. Adds: our trainer, atomic checkpoints that hold the EMA too, and a trained model with its adapters merged."""

    def init_model_from_pretrained(self, *args, **kwargs):
        cpu.install_openrlhf()
        if not (run := Config.of_this_run().run_dir).joinpath("prompts.jsonl").exists():
            raise RuntimeError(
                f"{run} is not there on the student's node {ray.util.get_node_ip_address()}; set runs to a folder that all nodes share"
            )
        ppo_actor.ActorPPOTrainer = ScopeActorTrainer
        super().init_model_from_pretrained(*args, **kwargs)
        self.disable_ds_ckpt = True  # `save_checkpoint` of OpenRLHF leaves that part to ours
        latest = self._checkpoints / "latest"
        if self.ema_model and latest.exists():
            self.ema_model.model.module.load_state_dict(
                torch.load(self._checkpoints / latest.read_text() / EMA, weights_only=True)
            )

    def save_checkpoint(self, tag, client_states=None, metric_value=None, metric_key=None):
        """OpenRLHF's deletes old checkpoints before the new one is written, and has nothing to check it by."""
        ckpt, first = self.strategy.args.ckpt, dist.get_rank() == 0
        if first:
            checkpoint.begin(self._checkpoints, tag)
        dist.barrier()
        part = self._checkpoints / f"{tag}{checkpoint.PART}"
        try:
            self.actor.model.save_checkpoint(
                str(self._checkpoints), tag=part.name, client_state=client_states or {}, save_latest=False
            )
            if self.ema_model and first:  # it is whole on every rank: refused with ZeRO-3 and tensor parallel training
                torch.save(self.ema_model.model.module.state_dict(), part / EMA)
            dist.barrier()
            if first:
                checkpoint.commit(part, ckpt.max_num, ckpt.max_mem * 2**30)
        except (OSError, RuntimeError) as error:  # of a full disk torch says "unexpected pos"
            room = shutil.disk_usage(self._checkpoints).free
            raise OSError(
                f"the checkpoint {part.with_suffix('')} could not be written, {room:,} bytes are free there: free the disk, then run the same again; "
                f"the older checkpoints are whole ({str(error).splitlines()[0]})"
            ) from error
        super().save_checkpoint(tag, client_states, metric_value, metric_key)

    def save_model(self):
        peft = self.actor.model.module
        if not isinstance(peft, PeftModel):
            return super().save_model()
        if (
            dist.get_rank() == 0
        ):  # params are whole on every rank: LoRA is refused with ZeRO-3 and tensor parallel training
            folder = self.strategy.args.ckpt.output_dir
            peft.save_pretrained(Path(folder) / "adapter")
            peft.get_base_model().save_pretrained(
                folder, state_dict={name: param.data for name, param in merged_params(peft)}
            )
            self.tokenizer.save_pretrained(folder)
        dist.barrier()

    @property
    def _checkpoints(self) -> Path:
        return Path(self.strategy.args.ckpt.path) / "_actor"
