"""LoRA adapters shown as the plain model that the rollout engines know, and that a user can load."""

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from openrlhf.trainer.ray.ppo_actor import ActorPPOTrainer
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor


@contextlib.contextmanager
def plain_params(trainer: ActorPPOTrainer) -> Iterator[None]:
    """Show OpenRLHF's weight sync the names and params of the plain model, LoRA adapters added in, while it is open.

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
    """A param with its adapters added when `data` is read, so that a sync holds one of them at a time.

    Looks like a Parameter to OpenRLHF.
    """

    requires_grad = True

    def __init__(self, param: Tensor, layer: Any) -> None:
        """layer: the LoraLayer that adapts the param (its base class does not name what each of them has), or None."""
        self.param, self.layer, self.shape, self.dtype = param, layer, param.shape, param.dtype

    @property
    def data(self) -> Tensor:
        if self.layer is None:
            return self.param.data
        with torch.no_grad():
            adapters = sum(self.layer.get_delta_weight(name) for name in self.layer.active_adapters)
            return (self.param + adapters).contiguous()


def merged_params(peft: PeftModel) -> Iterator[tuple[str, MergedParam]]:
    """(name in the plain model, param with its adapters added) of every param; the model itself stays as it is."""
    adapted = {id(m.base_layer.weight): m for m in peft.modules() if isinstance(m, LoraLayer)}
    for name, param in peft.get_base_model().named_parameters():
        if ".lora_" in name:
            continue
        yield name.replace(".base_layer.", "."), MergedParam(param, adapted.get(id(param)))
