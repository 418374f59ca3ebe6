"""The temperature of an engine's logits, as vLLM's two model runners ask for them."""

from types import SimpleNamespace

import pytest
import torch

from scope_openrlhf.teacher.replica import EngineTemperature


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


def test_vllms_own_call_sites_are_where_they_were():
    """Names of vLLM 0.29: were a logit computed elsewhere, it would have temperature 1."""
    from pathlib import Path

    import vllm

    runner = Path(str(vllm.__file__)).parent / "v1" / "worker" / "gpu" / "model_runner.py"
    text = runner.read_text()
    assert "self.model.compute_logits" in text and "compute_logits_local" in text
    assert text.count("self.parallel_config.enable_batch_sharded_sampling") == 1
