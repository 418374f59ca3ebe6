"""Every place where this package meets OpenRLHF, and no other room imports it or DeepSpeed.

tests/host/test_seams.py asserts each seam against the pinned version; add to both together.

openrlhf.cli.train_ppo_ray, main guard   parser and checks, run by us on our flags            flags.resolve_args
openrlhf.cli.train_ppo_ray.train         called by us                                         launch.launch
PolicyModelActor, PPOTrainer             names that train() reads; ours subclass them         launch.launch
placement_group                          name that train() reads; made before for teachers    gpus, launch
RolloutRayActor, create_vllm_engines     names read as engines start; ours add sizes, and wait        engines, launch
PPOTrainerAsync and its two actors       names that train() and it read; ours subclass them   launch, trainer
ActorPPOTrainer, iter_grad_accum_...     names that PolicyModelActor reads                    policy_actor, update
forward hook on the actor                hands what was read of the vocabulary to the loss    update
Experience.concat_experiences            ours is put in place, and makes the Experiences       gather, trainer
SamplesGenerator, RemoteExperienceMaker  attributes of PPOTrainer; ours subclass them         rollout, experience
_dispatch_forward, _flatten_results      of RemoteExperienceMaker, called to score contexts   experience
Actor                                    name that PolicyModelActor reads; ours has a forward actor, policy_actor
unpad_and_slice_..., gather_and_pad_...  called for packed samples, as Actor.forward does     actor
PolicyLoss                               stands in ActorPPOTrainer.actor_loss_fn; ours too    path_loss, update
save_checkpoint of the actor group       called before a run stops for want of a teacher      trainer
save_checkpoint, save_model of the actor ours write atomically, and merge LoRA adapters       policy_actor
actor of ActorPPOTrainer                 shown with plain params while it sends them          lora
labels, Experience.info                  what rides along in them                             luggage
--train.agent_func_path                  OpenRLHF's own door                                  rollout.AgentExecutor
CUDA's names in OpenRLHF and DeepSpeed   exchanged where there is no CUDA                     cpu
Actor.__init__, get_train_ds_config      attention without flash-attn, Adam without a compiler machine
"""

from importlib.metadata import PackageNotFoundError, version

from scope_openrlhf.platform.cpu import install
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.pins import INSTALL_OPENRLHF, PINNED_OPENRLHF


def assert_pinned() -> None:
    """Raise ConfigError if another version of OpenRLHF than the seams are written against is installed."""
    try:
        found = version("openrlhf")
    except PackageNotFoundError:
        return  # what imports it says so; the loss does without
    if found != PINNED_OPENRLHF:
        raise ConfigError(
            f"this plugin is written against openrlhf {PINNED_OPENRLHF}, {found} is installed; run make setup, or "
            f"{INSTALL_OPENRLHF}"
        )


# both before any file of this room imports OpenRLHF: another version may lack what is imported, and as it is imported
# it looks for flash_attn
assert_pinned()
install()
