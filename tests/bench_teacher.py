"""make bench-teacher: tokens scored a second, our Ray teacher group against the published way.

Both have the same model and the same sequences, and are measured in turns.

The published way: one `vllm serve`, asked by the OpenAI client in 100 threads for max_tokens=1, echo and logprobs=1,
token ids as prompt. Ours: a group of two replicas, an engine for each of two cores; its first replica alone is measured
too, and what vLLM's plain prefill takes: the same engines, the same sequences, each engine's half in one call, and no
log-prob asked for. Then what 100, 1,000 and 10,000 sequences take, and what memory is left with client and engines
after them.
"""

import asyncio
import gc
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import ray
import resolved
from openai import OpenAI
from served import serve

from scope_openrlhf.platform import cpu
from scope_openrlhf.settings.resolved import RUN_VARIABLE
from scope_openrlhf.teacher import group as teacher_group
from scope_openrlhf.teacher.client import TeacherClient
from scope_openrlhf.teacher.ray_endpoint import RayEndpoint
from scope_openrlhf.teacher.replica import TeacherReplica

NUM, REPEATS = 400, 5
SEQUENCES = [[3, *(5 + (i * j) % 15 for i in range(3, 126))] for j in range(1, NUM + 1)]


class Prefilling(TeacherReplica):
    """A replica that can also read sequences and say nothing of them."""

    async def prefill(self, sequences: list[list[int]]) -> int:
        async def read(ids: list[int]) -> int:
            return len([output async for output in self._ask(ids, max_tokens=1, temperature=0.0)])

        return sum(await asyncio.gather(*map(read, sequences)))


def ours(endpoints, sequences=SEQUENCES) -> list:
    """Scores of all sequences, asked at once."""

    async def all_of_them():
        client = TeacherClient(endpoints, deadline_seconds=300)
        return await asyncio.gather(*(client.score(s) for s in sequences))

    return asyncio.run(all_of_them())


def growth(endpoints) -> None:
    """Print seconds and MiB for growing numbers of sequences; nothing may be held once the scores are dropped."""
    children = psutil.Process().children(recursive=True)
    engines = [p for p in children if p.name().startswith(("ray::TeacherRep", "VLLM::Engine"))]
    processes = [psutil.Process(), *engines]
    for num in (100, 1_000, 10_000, 10_000):
        sequences = [[3, *(5 + (i * j * 7) % 15 for i in range(3, 126))] for j in range(1, num + 1)]
        start = time.perf_counter()
        scores = ours(endpoints, sequences)
        seconds = time.perf_counter() - start
        kib = sum(s.logprobs.nbytes + s.token_ids.nbytes for s in scores) / 1024
        del scores, sequences
        gc.collect()
        mib = [round(p.memory_info().rss / 2**20) for p in processes]
        print(
            f"{num:6d} sequences  {seconds:6.2f} s  {1000 * seconds / num:5.2f} ms each  scores {kib:7.0f} KiB  "
            f"then resident: client {mib[0]}, replicas and engines {sum(mib[1:])} MiB"
        )


def published(client: OpenAI, model: str) -> list:
    """Log-probs of all tokens of SEQUENCES, None at the first of each."""

    def one(token_ids):
        answer = client.completions.create(
            model=model, prompt=token_ids, logprobs=1, temperature=1.0, max_tokens=1, echo=True
        )
        return answer.choices[0].logprobs.token_logprobs

    with ThreadPoolExecutor(max_workers=100) as threads:
        return list(threads.map(one, SEQUENCES))


def prefill(handles) -> list[int]:
    """SEQUENCES read by the engines, an equal part each."""
    return ray.get([handle.prefill.remote(SEQUENCES[i :: len(handles)]) for i, handle in enumerate(handles)])


def measure(endpoints, handles) -> dict[str, list[float]]:
    """Seconds that each way takes for all sequences, REPEATS times in turns. They must give the same numbers."""
    with serve("--dtype", "float32") as url:
        client = OpenAI(base_url=f"{url}/v1", api_key="none")
        model = client.models.list().data[0].id
        runs = {
            "ours": lambda: ours(endpoints),
            "one replica": lambda: ours(endpoints[:1]),
            "other": lambda: published(client, model),
            "prefill": lambda: prefill(handles),
        }
        a, _, b, _ = (run() for run in runs.values())  # warm
        pairs = [(score.logprobs, echoed[1:-1]) for score, echoed in zip(a, b, strict=True)]
        gap = max(abs(float(x) - y) for ours_, echoed in pairs for x, y in zip(ours_, echoed, strict=True))
        assert gap < 1e-2, gap
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(REPEATS):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    cpu.install()
    env = cpu.environment() | {RUN_VARIABLE: json.dumps({"for": "bench"})}
    hook = {"env_vars": env, "worker_process_setup_hook": "scope_openrlhf.platform.cpu.install"}
    sizes = {"num_cpus": 4, "num_gpus": 2, "object_store_memory": 256 * 2**20}
    ray.init(include_dashboard=False, log_to_driver=False, runtime_env=hook, **sizes)
    teacher = resolved.teacher(dtype="float32", temperature=1.0, replicas=2, max_num_batched_tokens=1024)
    teacher_group.TeacherReplica = Prefilling
    group = teacher_group.TeacherGroup(teacher)
    group.start(seed=1)
    ray.get([handle.ready.remote() for handle in group.handles], timeout=300)
    endpoints = [RayEndpoint(name) for name in group.names]
    seconds = measure(endpoints, group.handles)
    growth(endpoints)
    group.close()
    ray.shutdown()
    tokens = sum(len(s) for s in SEQUENCES)
    rate = {name: tokens / statistics.median(values) for name, values in seconds.items()}
    rounded = json.dumps({name: [round(value, 2) for value in values] for name, values in seconds.items()})
    print(f"{NUM} sequences, {tokens} tokens; seconds {rounded}")
    alone, other = rate["one replica"], rate["other"]
    print(f"one replica of ours: {alone:.0f} tokens/s, {alone / other:.2f} times the published way")
    print(f"the group scores at {rate['ours'] / rate['prefill']:.2f} of vLLM's plain prefill, {rate['prefill']:.0f}")
    rates = {"ratio": round(rate["ours"] / other, 2), "ours": round(rate["ours"]), "other": round(other)}
    print(json.dumps({"name": "teacher", **rates, "unit": "tokens/s", "n": REPEATS}))


if __name__ == "__main__":
    main()
