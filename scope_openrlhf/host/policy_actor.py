"""The Ray actor of each training rank: OpenRLHF's, with our optimiser loop and our checkpoints."""

import shutil
from pathlib import Path

import openrlhf.trainer.ray.ppo_actor as ppo_actor
import ray
import torch
import torch.distributed as dist
from openrlhf.trainer.ray.ppo_actor import PolicyModelActor
from peft import PeftModel

from scope_openrlhf.files import checkpoint
from scope_openrlhf.host import machine
from scope_openrlhf.host.actor import ScopeActor
from scope_openrlhf.host.lora import merged_params
from scope_openrlhf.host.schedule import set_learning_rate
from scope_openrlhf.host.update import ScopeActorTrainer
from scope_openrlhf.settings.resolved import Run

EMA = "moving_average.pt"
"""File of a checkpoint with the params' average, where the run keeps one. OpenRLHF's checkpoints leave it out."""


class ScopePolicyActor(PolicyModelActor.__ray_metadata__.modified_class):
    """OpenRLHF's policy actor, with our trainer.

    Its checkpoints are whole or not there and hold the moving average too; its trained model has its adapters merged.
    """

    def init_model_from_pretrained(self, *args, **kwargs):
        machine.install()
        if not (run := Run.of_this_worker().run_dir).joinpath("prompts.jsonl").exists():
            raise RuntimeError(
                f"{run} is not there on the student's node {ray.util.get_node_ip_address()}; set runs to a folder that "
                "all nodes share"
            )
        ppo_actor.Actor, ppo_actor.ActorPPOTrainer = ScopeActor, ScopeActorTrainer
        super().init_model_from_pretrained(*args, **kwargs)
        self.disable_ds_ckpt = True  # `save_checkpoint` of OpenRLHF leaves that part to ours
        if self.checkpoint_states and self.strategy.args.actor.optim == "adam":  # Muon has two rates
            set_learning_rate(self.actor_scheduler, self.strategy.args.actor.adam.lr)
        latest = self._checkpoints / "latest"
        if self.ema_model and latest.exists():
            self.ema_model.model.module.load_state_dict(
                torch.load(self._checkpoints / latest.read_text() / EMA, weights_only=True)
            )

    def save_checkpoint(self, tag, client_states=None, metric_value=None, metric_key=None):
        """Write a checkpoint beside the older ones.

        OpenRLHF's own method deletes those before the new one is written, and has nothing to check it by.
        """
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
                f"the checkpoint {part.with_suffix('')} could not be written, {room:,} bytes are free there: free the "
                f"disk, then run the same again; the older checkpoints are whole ({str(error).splitlines()[0]})"
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
            peft.save_pretrained(str(Path(folder) / "adapter"))
            peft.get_base_model().save_pretrained(
                folder, state_dict={name: param.data for name, param in merged_params(peft)}
            )
            self.tokenizer.save_pretrained(folder)
        dist.barrier()

    @property
    def _checkpoints(self) -> Path:
        return Path(self.strategy.args.ckpt.path) / "_actor"
