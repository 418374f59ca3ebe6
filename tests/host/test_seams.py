"""The seams into OpenRLHF (host/__init__.py lists them), asserted against the pinned version."""

import inspect
from importlib.metadata import version

from scope_openrlhf import host
from scope_openrlhf.host import machine

machine.install()


def parameters(function):
    # Ray adds _ray_trace_ctx to the methods of actors
    return [name for name in inspect.signature(function).parameters if name != "_ray_trace_ctx"]


def test_the_pinned_version_is_installed():
    assert version("openrlhf") == host.PINNED_OPENRLHF


def test_each_seam_has_the_signature_that_we_override_or_call():
    import openrlhf.trainer.ray.ppo_actor as ppo_actor
    from openrlhf.cli import train_ppo_ray
    from openrlhf.models import Actor, PolicyLoss, ring_attn_utils
    from openrlhf.trainer.ppo_trainer import PPOTrainer
    from openrlhf.trainer.ppo_utils.experience import Experience
    from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker
    from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator
    from openrlhf.trainer.ray import vllm_engine
    from openrlhf.utils.agent import SingleTurnAgentExecutor
    from openrlhf.utils.loss_utils import iter_grad_accum_global_norm

    train = inspect.getsource(train_ppo_ray.train)
    # the student's, and that of a critic, which no run here has
    assert train.count('pg = placement_group(bundles, strategy="PACK")') == 2
    engines = inspect.getsource(vllm_engine.create_vllm_engines)
    assert train.count("= create_vllm_engines(") == engines.count("RolloutRayActor.options(") == 1
    assert "max_num" not in engines  # what ours adds
    trainer = PPOTrainer.__ray_metadata__.modified_class
    assert parameters(trainer.train_step) == ["self", "rollout_samples", "global_step"]
    assert parameters(trainer.save_logs_and_checkpoints) == ["self", "global_step", "logs_dict", "client_states"]
    assert parameters(trainer.fit) == ["self", "global_step"]
    assert parameters(RemoteExperienceMaker.compute_advantages_and_returns) == ["self", "experiences"]
    assert parameters(SamplesGenerator._process_response_into_experience) == ["self", "response", "generate_kwargs"]
    assert parameters(SamplesGenerator.generate_samples) == ["self", "generate_kwargs"]
    asked = ["prompt", "label", "sampling_params", "max_length", "hf_tokenizer", "llm_engine", "images"]
    assert parameters(SingleTurnAgentExecutor.execute)[1:] == asked
    given = ["self", "experience", "kl_ctl", "step", "loss_batch_info"]
    assert parameters(ppo_actor.ActorPPOTrainer.training_step) == given
    assert parameters(ppo_actor.ActorPPOTrainer.ppo_train) == ["self", "kl_ctl"]
    assert parameters(iter_grad_accum_global_norm) == ["data_iter", "strategy", "accumulated_gradient", "mask_fn"]
    assert parameters(RemoteExperienceMaker._dispatch_forward) == ["self", "group", "sync_condition", "kwargs"]
    assert parameters(RemoteExperienceMaker._flatten_results) == ["self", "refs", "duplicate_factor"]
    asked = ["sequences", "action_mask", "attention_mask", "return_output", "allgather_logits", "return_logprobs"]
    asked += ["ring_attn_group", "packed_seq_lens", "return_entropy", "mm_inputs"]
    assert parameters(Actor.forward)[1:] == asked
    given = ["sequences", "attention_mask", "ring_attn_group"]
    assert parameters(ring_attn_utils.unpad_and_slice_tensor) == given
    given = ["tensor", "ring_attn_group", "ring_attn_pad_len", "indices", "batch", "seqlen"]
    assert parameters(ring_attn_utils.gather_and_pad_tensor) == given
    assert parameters(Experience.concat_experiences) == ["experiences_list", "pad_token_id"]
    policy = ppo_actor.PolicyModelActor.__ray_metadata__.modified_class
    assert parameters(policy.save_checkpoint)[:3] == ["self", "tag", "client_states"]
    given = ["log_probs", "old_log_probs", "advantages", "action_mask", "rollout_log_probs"]
    assert parameters(PolicyLoss.forward)[1:6] == given


def test_the_names_that_openrlhf_reads_are_where_we_put_ours():
    import openrlhf.cli.train_ppo_ray as cli
    import openrlhf.trainer.ray.ppo_actor as ppo_actor

    assert "PolicyModelActor" in vars(cli)
    assert "from openrlhf.trainer.ppo_trainer import PPOTrainer" in inspect.getsource(cli.train)
    policy = inspect.getsource(ppo_actor.PolicyModelActor.__ray_metadata__.modified_class.init_model_from_pretrained)
    assert "ActorPPOTrainer(" in policy and "actor = Actor(\n" in policy
    assert "iter_grad_accum_global_norm(" in inspect.getsource(ppo_actor.ActorPPOTrainer.ppo_train)
    step = inspect.getsource(ppo_actor.ActorPPOTrainer.training_step)
    assert "self.actor(\n            sequences,\n" in step
    assert "attention_mask=attention_mask" in step and "return_output=True" in step
    assert "self.actor_loss_fn(" in inspect.getsource(ppo_actor.ActorPPOTrainer.training_step)
    assert "model = self.actor.model.module\n" in inspect.getsource(ppo_actor.ActorPPOTrainer.broadcast_to_vllm)
    save = inspect.getsource(ppo_actor.PolicyModelActor.__ray_metadata__.modified_class.save_checkpoint)
    assert "if not self.disable_ds_ckpt:\n            self.strategy.save_ckpt(" in save


def test_an_asynchronous_run_reads_its_two_halves_as_globals_of_its_module():
    import openrlhf.cli.train_ppo_ray as cli
    import openrlhf.trainer.ppo_trainer_async as module

    imported = "from openrlhf.trainer.ppo_trainer_async import PPOTrainerAsync as PPOTrainer"
    assert imported in inspect.getsource(cli.train)
    built = inspect.getsource(module.PPOTrainerAsync.__ray_metadata__.modified_class.__init__)
    assert "GenerateSamplesActor.remote(" in built and "TrainingActor.remote(" in built
    assert parameters(module.TrainingActor.__ray_metadata__.modified_class.fit) == ["self", "global_step"]
    generator = module.GenerateSamplesActor.__ray_metadata__.modified_class
    assert parameters(generator.__init__)[1:4] == ["pretrain", "strategy", "vllm_engines"]
