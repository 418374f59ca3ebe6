"""The lm-eval backend with a sampler of a dozen lines, where a fault or an order must be provoked; the real engines are in test_eval.py."""

import random
from types import SimpleNamespace

import pytest

from scope_eval.backend import ScopeVLLM, sampling_params
from scope_eval.engines import SamplingError
from scope_eval.store import Sample, Store
from scope_openrlhf.config import ConfigError

OPTIONS = {"until": [], "do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20, "max_gen_toks": 8}


class Drawer:
    """Says its seed, finishes in any order, and dies after so many samples."""

    def __init__(self, lives: int = 10**9) -> None:
        self.lives, self.asked = lives, []

    def sample(self, requests):
        self.asked += requests
        for request in random.sample(requests, len(requests)):
            if self.lives == 0:
                raise SamplingError("dead")
            self.lives -= 1
            said = f"{request.item} {request.number} {request.params['seed']}"
            yield [(request.key, Sample(request.item, request.number, said, 3, "stop", request.params["seed"], "0"))]

    def close(self):
        pass


def requests(items, samples: int, task: str = "scope_tiny", options=OPTIONS):
    """As lm-eval makes them: the same object once for each sample."""
    made = [SimpleNamespace(args=(f"{i}+1?", options), doc={"id": f"p{i}"}, doc_id=i, task_name=task) for i in items]
    return [r for r in made for _ in range(samples)]


def backend(tmp_path=None, drawer=None, seed: int = 1, **kwargs) -> ScopeVLLM:
    store = Store(tmp_path / "s") if tmp_path else None
    lm = ScopeVLLM("examples/tiny/student", seed=seed, store=store, benchmarks={"scope_tiny": 1, "scope_other": 2}, **kwargs)
    lm.sampler = drawer or Drawer()
    return lm


def test_a_sample_depends_on_seed_task_item_and_number_alone(tmp_path):
    texts = backend().generate_until(requests(range(3), 4))
    assert len(set(texts)) == 12 and [t.finish_reason for t in texts] == ["stop"] * 12
    assert backend().generate_until(requests([2, 1, 0], 4)) == [*texts[8:], *texts[4:8], *texts[:4]]
    assert backend(tmp_path).generate_until(requests(range(3), 4)) == texts
    assert not set(backend(seed=2).generate_until(requests(range(3), 4))) & set(texts)
    assert not set(backend().generate_until(requests(range(3), 4, task="scope_other"))) & set(texts)


def test_what_a_death_left_is_not_drawn_again_and_8_samples_grow_to_32(tmp_path):
    whole = backend().generate_until(requests(range(5), 32))
    with pytest.raises(SamplingError):
        backend(tmp_path, Drawer(lives=17)).generate_until(requests(range(5), 8))
    second, third = Drawer(), Drawer()
    assert backend(tmp_path, second).generate_until(requests(range(5), 8)) == [t for i in range(5) for t in whole[32 * i : 32 * i + 8]]
    assert len(second.asked) == 5 * 8 - 17
    assert backend(tmp_path, third).generate_until(requests(range(5), 32)) == whole and len(third.asked) == 5 * 24


def test_a_response_that_cannot_fit_is_refused_before_anything_is_sampled():
    drawer = Drawer()
    with pytest.raises(
        ConfigError, match=r"p1 and its longest response need \d+ tokens, the model has 128 positions; set --max-tokens 12\d or less"
    ):
        backend(drawer=drawer).generate_until(requests([1], 1, options=OPTIONS | {"max_gen_toks": 200}))
    assert not drawer.asked


def test_generation_kwargs_become_vllms_and_unknown_ones_are_refused():
    assert sampling_params(OPTIONS) == {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "max_tokens": 8}
    assert sampling_params({"until": ["\n"], "max_gen_toks": 8}) == {"temperature": 0.0, "max_tokens": 8, "stop": ["\n"]}
    with pytest.raises(ConfigError, match="does not know generation_kwargs num_beams"):
        sampling_params(OPTIONS | {"num_beams": 2})
