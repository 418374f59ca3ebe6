"""The lm-eval backend with a sampler of a dozen lines, where a fault or an order must be provoked.

The real engines are in test_run.py.
"""

import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import chats
import pytest
from stores import ABOUT

from scope_eval.backend import ScopeVLLM, sampling_params
from scope_eval.grade import process_results
from scope_eval.sampler import Request, SamplingError
from scope_eval.server import Server
from scope_eval.store import Sample, Store
from scope_openrlhf.data.prompts import folded
from scope_openrlhf.settings.errors import ConfigError

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
    lm = ScopeVLLM("examples/tiny/student", seed=seed, store=store, **kwargs)
    if store:
        rows = [{"id": f"p{i}", "problem": "?", "answer": "1"} for i in range(5)]
        lm.benchmarks["scope_tiny"] = store.begin("tiny", {}, "d", {}, rows, ABOUT)
    lm.sampler = drawer or Drawer()
    return lm


def test_a_sample_depends_on_seed_task_item_and_number_alone(tmp_path):
    texts = backend().generate_until(requests(range(3), 4))
    assert len(set(texts)) == 12 and [t.finish_reason for t in texts] == ["stop"] * 12
    assert backend().generate_until(requests([2, 1, 0], 4)) == [*texts[8:], *texts[4:8], *texts[:4]]
    assert backend(tmp_path).generate_until(requests(range(3), 4)) == texts
    assert not set(backend(seed=2).generate_until(requests(range(3), 4))) & set(texts)
    assert not set(backend().generate_until(requests(range(3), 4, task="scope_other"))) & set(texts)


def test_a_problem_may_be_a_chat_and_its_own_system_prompt_comes_first():
    lm = backend(template_args={"enable_thinking": False})
    lm.tokenizer.chat_template = chats.TEMPLATES["thinks"]
    chat = folded([{"role": "system", "content": "7"}, {"role": "user", "content": "1+1?"}])
    turns = folded(
        [{"role": role, "content": said} for role, said in (("user", "1"), ("assistant", "2"), ("user", "3"))]
    )
    for problem, prompt in {
        "1+1?": "<|system|>5<|user|>1+1? Think.<|assistant|><think></think>",
        chat: "<|system|>7<|user|>1+1? Think.<|assistant|><think></think>",
        turns: "<|system|>5<|user|>1<|assistant|>2<|user|>3 Think.<|assistant|><think></think>",
    }.items():
        asked = [{"role": "system", "content": "5"}, {"role": "user", "content": f"{problem} Think."}]
        assert lm.apply_chat_template(asked) == prompt


def test_what_a_death_left_is_not_drawn_again_and_8_samples_grow_to_32(tmp_path):
    whole = backend().generate_until(requests(range(5), 32))
    with pytest.raises(SamplingError):
        backend(tmp_path, Drawer(lives=17)).generate_until(requests(range(5), 8))
    second, third = Drawer(), Drawer()
    assert backend(tmp_path, second).generate_until(requests(range(5), 8)) == [
        t for i in range(5) for t in whole[32 * i : 32 * i + 8]
    ]
    assert len(second.asked) == 5 * 8 - 17
    assert backend(tmp_path, third).generate_until(requests(range(5), 32)) == whole and len(third.asked) == 5 * 24


def test_what_a_store_holds_comes_with_its_grade_and_leaves_it_there(tmp_path):
    class Answerer(Drawer):
        def sample(self, requests):
            for r in requests:
                said = rf"\boxed{{{r.number}}}"
                yield [(r.key, Sample(r.item, r.number, said, 3, "length" if r.item == "p1" else "stop", 1, "0"))]

    lm = backend(tmp_path, Answerer())
    texts = lm.generate_until(requests(range(2), 3))  # 0, 1 and 2 where the gold is 1
    assert [t.grade.verdict for t in texts] == ["wrong", "right", "wrong"] * 2
    assert [t.grade.answer_class for t in texts] == [1, 0, 2] * 2
    held = lm.store.graded(lm.benchmarks["scope_tiny"], 3)
    assert [[s["verdict"] for s in held[item]] for item in ("p0", "p1")] == [["wrong", "right", "wrong"]] * 2
    assert process_results({"answer": "1"}, [texts[:3]])["avg"] == 1 / 3
    assert process_results({"answer": "1"}, [texts[3:]])["avg"] == 0  # truncated
    assert backend().generate_until(requests(range(1), 1))[0].grade is None  # plain lm-eval grades by itself


def test_a_response_that_was_aborted_is_no_sample(tmp_path):
    class Aborter(Drawer):
        def sample(self, requests):
            for request in requests:
                yield [(request.key, Sample(request.item, request.number, "half", 3, "abort", 1, "0"))]

    lm = backend(tmp_path, Aborter())
    with pytest.raises(SamplingError, match="p0, sample 0: it ended by abort, which is no answer"):
        lm.generate_until(requests([0], 2))
    assert not lm.store.have(1)


def test_without_a_store_samples_are_kept_by_task_and_settings():
    lm = backend()
    first = lm.generate_until(requests([0], 1))
    assert lm.generate_until(requests([0], 1, task="scope_other")) != first
    assert len(lm.sampler.asked) == 2 and lm.generate_until(requests([0], 1)) == first and len(lm.sampler.asked) == 2
    lm.generate_until(requests([0], 1, options=OPTIONS | {"temperature": 1.0}))
    assert len(lm.sampler.asked) == 3


def test_a_response_that_cannot_fit_is_refused_before_anything_is_sampled():
    drawer = Drawer()
    with pytest.raises(
        ConfigError,
        match=r"p1 and its longest response need \d+ tokens, the model has 128 positions; "
        r"set --max-tokens 12\d or less",
    ):
        backend(drawer=drawer).generate_until(requests([1], 1, options=OPTIONS | {"max_gen_toks": 200}))
    assert not drawer.asked


def test_generation_kwargs_become_vllms_and_unknown_ones_are_refused():
    whole = {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.0, "repetition_penalty": 1.0, "max_tokens": 8}
    assert sampling_params(OPTIONS) == whole
    plain = {
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "max_tokens": 8,
        "stop": ["\n"],
    }
    assert sampling_params({"until": ["\n"], "max_gen_toks": 8}) == plain
    assert sampling_params(OPTIONS | {"do_sample": False})["temperature"] == 0
    with pytest.raises(ConfigError, match="--top-p must be above 0 and at most 1, got 2"):
        sampling_params(OPTIONS | {"top_p": 2})
    with pytest.raises(ConfigError, match="does not know generation_kwargs num_beams"):
        sampling_params(OPTIONS | {"num_beams": 2})


@pytest.fixture
def completions():
    """A server that speaks as much of OpenAI's protocol as we ask for, and refuses seed 13."""

    class Handler(BaseHTTPRequestHandler):
        asked: list[dict] = []

        def do_GET(self):
            self.answer(
                200,
                {
                    "object": "list",
                    "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "x", "root": "org/m"}],
                },
            )

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.asked.append(asked)
            if asked["seed"] == 13:
                self.answer(400, {"error": {"message": "too long for me"}})
                return
            choice = {"index": 0, "text": str(asked["seed"]), "finish_reason": "stop", "logprobs": None}
            usage = {"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 6}
            self.answer(
                200,
                {
                    "id": "1",
                    "object": "text_completion",
                    "created": 1,
                    "model": "m",
                    "choices": [choice],
                    "usage": usage,
                },
            )

        def answer(self, status, body):
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", Handler.asked
    server.shutdown()


def test_a_request_that_a_server_refuses_costs_no_other_and_is_not_asked_to_be_repeated(completions):
    url, asked = completions
    server = Server(url, "")
    found = []
    with pytest.raises(SamplingError, match="too long for me") as error:
        for finished in server.sample(
            [Request(0, "a", i, [7], sampling_params(OPTIONS) | {"seed": i}) for i in range(100)]
        ):
            found += finished
    assert "run the same again" not in str(error.value) and {s.number for _, s in found} == set(range(100)) - {13}
    assert all(s.text == str(s.number) and (s.tokens, s.finish_reason) == (5, "stop") for _, s in found)
    # nothing is left to the defaults of the server's model
    assert {
        "top_k": 20,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "top_p": 0.95,
        "max_tokens": 8,
        "prompt": [7],
        "model": "m",
    }.items() <= asked[0].items()


def test_a_served_model_is_known_by_its_name_and_root(completions):
    assert Server(completions[0], "").identity == {"served": "m", "root": "org/m"}
    with pytest.raises(ConfigError, match="serves m, not 'other'; name one with --served-model"):
        Server(completions[0], "other")
