"""The temperature of an engine's logits, as vLLM's two model runners ask for them."""

import inspect
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scope_openrlhf.teacher.replica import EXTENSION, EngineTemperature, TeacherReplica


class Model(torch.nn.Module):
    def compute_logits(self, hidden_states):
        return None if hidden_states is None else hidden_states * 3


def engine(sharded: bool | None = False) -> EngineTemperature:
    worker = EngineTemperature()
    model = Model()
    worker.model_runner = SimpleNamespace(model=model, get_model=lambda: model)
    worker.parallel_config = SimpleNamespace(enable_batch_sharded_sampling=sharded)
    return worker


def test_both_runners_find_the_temperature_when_they_call_the_model():
    """V1 and V2 look `self.model.compute_logits` up at each call: V2 for samples and, in pieces, for prompts."""
    worker = engine()
    runner = worker.model_runner
    hidden = torch.arange(6.0, dtype=torch.bfloat16).reshape(3, 2)
    assert worker.set_temperature("0.5")["temperature"] == 0.5
    whole = runner.model.compute_logits(hidden)
    assert whole.dtype == torch.float32 and whole.tolist() == [[0.0, 6.0], [12.0, 18.0], [24.0, 30.0]]
    pieces = [runner.model.compute_logits(piece) for piece in hidden.split(2)]
    assert torch.equal(torch.cat(pieces), whole)
    assert runner.model.compute_logits(None) is None  # of a rank that has no head
    worker.set_temperature(1)
    assert runner.model.compute_logits(hidden)[2].tolist() == [12.0, 15.0]


def test_logits_that_would_pass_the_temperature_by_are_refused():
    with pytest.raises(ValueError, match="without --enable-batch-sharded-sampling"):
        engine(sharded=True).set_temperature(0.6)
    assert engine(sharded=None).set_temperature(0.6)["temperature"] == 0.6


@pytest.fixture
def v2(monkeypatch):
    """vLLM's second model runner, with plain torch for its Triton kernels, which a CPU cannot run; ranks stay empty."""
    from vllm.v1.worker.gpu import model_runner
    from vllm.v1.worker.gpu.sample import logprob, prompt_logprob

    def following(num_tokens, starts, slots, computed, all_token_ids):
        rows = zip(slots, starts[:-1], starts[1:], strict=True)
        return torch.cat([all_token_ids[i, computed[i] + 1 :][: b - a] for i, a, b in rows]).long()

    def token_logprobs(logits, token_ids):
        return logits.float().log_softmax(-1).gather(-1, token_ids)

    monkeypatch.setattr(prompt_logprob, "get_prompt_logprobs_token_ids", following)
    monkeypatch.setattr(logprob, "compute_token_logprobs", token_logprobs)
    monkeypatch.setattr(logprob, "_ranks_kernel", defaultdict(lambda: lambda *_, **__: None))
    return SimpleNamespace(runner=model_runner.GPUModelRunner, prompts=prompt_logprob.PromptLogprobsWorker)


def test_the_second_runners_prompt_log_probs_are_at_the_temperature_also_where_a_prompt_comes_in_pieces(v2):
    """Its own worker takes 1,024 tokens of logits at a time; the second piece of the prompt meets the first."""
    from vllm import SamplingParams

    worker, length, vocabulary, cut = engine(), 1500, 7, 1100
    hidden = torch.randn(length, vocabulary, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(length + 1)[None] % vocabulary
    found = []
    for temperature in (1.0, 0.6):
        worker.set_temperature(temperature)
        prompts = v2.prompts(max_num_reqs=1)
        prompts.add_request("r", 0, SamplingParams(prompt_logprobs=2, max_tokens=1))
        for begin, end in ((0, cut), (cut, length)):
            batch = SimpleNamespace(
                req_ids=["r"], idx_mapping=torch.tensor([0]), idx_mapping_np=np.array([0]), num_tokens=end - begin,
                query_start_loc=torch.tensor([0, end - begin]), query_start_loc_np=np.array([0, end - begin]),
                num_computed_prefill_tokens_np=np.array([begin]), num_scheduled_tokens=np.array([end - begin]),
                prefill_len_np=np.array([length]),
            )  # fmt: skip
            model = v2.runner.get_model(worker.model_runner)
            out = prompts.compute_prompt_logprobs(
                model.compute_logits, hidden[begin:end], batch, ids, torch.tensor([begin]), np.array([length])
            )
        found.append(out["r"])
        expected = (hidden[:-1] * 3 / temperature).log_softmax(-1)
        assert torch.equal(out["r"].logprob_token_ids[:, 0], ids[0, 1:length])
        assert torch.allclose(out["r"].logprobs, expected.gather(-1, out["r"].logprob_token_ids), atol=1e-5)
    assert torch.equal(found[0].logprob_token_ids, found[1].logprob_token_ids)
    assert (found[0].logprobs - found[1].logprobs).abs().mean() > 0.5


def test_the_second_runner_samples_at_the_temperature(v2):
    """GPUModelRunner.sample itself; the sampler is handed the logits that it would draw from."""
    worker, drawn_from = engine(), []
    runner = worker.model_runner
    runner.batch_sharder = runner.rejection_sampler = None

    def sampler(logits, batch):
        drawn_from.append(logits)
        return SimpleNamespace(num_sampled=1, num_rejected=0)

    runner.sampler = sampler
    worker.set_temperature(0.5)
    hidden = torch.arange(6.0).reshape(3, 2)
    batch = SimpleNamespace(
        logits_indices=torch.tensor([2]), num_reqs=1, num_draft_tokens=0, seq_lens=torch.tensor([3])
    )
    v2.runner.sample(runner, hidden, batch, None)
    assert drawn_from[0].tolist() == [[24.0, 30.0]]


def test_both_runners_ask_the_model_at_each_call_and_at_no_other_place():
    """Were a method of the model kept, or a logit computed elsewhere, it would have temperature 1."""
    from vllm.v1.worker.gpu import model_runner
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    assert "self.model.compute_logits," in inspect.getsource(model_runner.GPUModelRunner.sample_tokens)
    text = inspect.getsource(model_runner)
    assert text.count("compute_logits(") == 2 and text.count("self.model.compute_logits(") == 2
    assert text.count("compute_logits_local(") == 1 and text.count("enable_batch_sharded_sampling") == 1
    first = inspect.getsource(GPUModelRunner)
    assert first.count("compute_logits(") == first.count("self.model.compute_logits(") == 4


def test_a_replica_never_asks_for_batch_sharded_sampling():
    """The sampling whose logits pass the temperature by: switched off by name, whatever becomes of vLLM's default."""
    source = inspect.getsource(TeacherReplica.__init__)
    assert "enable_batch_sharded_sampling=False" in source and EXTENSION.endswith(EngineTemperature.__name__)
