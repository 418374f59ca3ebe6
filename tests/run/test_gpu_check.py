"""scope-train gpu-check on a CPU: its numeric checks on a small scale, its table, its report, and the whole of it."""

import re
from pathlib import Path

import pytest
import torch
import varlen_loop
from transformers import AutoModelForCausalLM

from scope_openrlhf.platform import varlen
from scope_openrlhf.platform.facts import Facts, Gpu
from scope_openrlhf.run.cli import main
from scope_openrlhf.run.gpu_check import kernels, numbers, report, runs, steps, vocabulary
from scope_openrlhf.run.gpu_check.judged import judge
from scope_openrlhf.run.gpu_check.report import CHECKLIST, Row
from scope_openrlhf.settings.config import Config
from scope_openrlhf.teacher.contract import Score
from scope_openrlhf.teacher.score_log import ScoreLog

CARD = "NVIDIA H100 80GB HBM3"
ROWS = [
    Row("machine", "PASS", "driver 580.95.05", 3.2),
    Row("sync", "PASS", "vllm_kl at most 4.1e-03 nats"),
    Row("sleep", "FAIL", "engines have said 'Sleep mode freed' 0 times"),
    Row("graphs", "SKIP", "run failed"),
]


def test_ours_may_be_twice_as_far_from_float64_as_the_plain_way_and_four_roundings_more():
    exact = {"a": torch.tensor([1.0, 4.0], dtype=torch.float64)}
    plain = {"a": exact["a"] + torch.tensor([0.0, 0.04])}  # 1% of the largest
    roundings = 4 * 2**-7  # of bfloat16
    for off, well in ((0.02, True), (0.02 + 0.9 * roundings, True), (0.02 + 1.1 * roundings, False)):
        found = judge(exact, plain, {"a": exact["a"] - 4 * off}, torch.bfloat16)
        assert found.ok == well and "the plain way 1.0e-02" in found.said
    assert not judge(exact, plain, {"a": exact["a"] * torch.nan}, torch.bfloat16).ok
    broken = {"a": exact["a"] * 0}
    assert not judge(exact, broken, broken, torch.bfloat16).ok  # both ways are


def test_attention_of_packed_samples_is_checked_and_a_wrong_one_noticed(monkeypatch):
    monkeypatch.setattr(varlen, "varlen_attn", varlen_loop.loop)
    assert kernels.attention("cpu", (40, 1, 12)).ok
    monkeypatch.setattr(varlen, "varlen_attn", lambda *args, **kwargs: varlen_loop.loop(*args, **kwargs) * 1.001)
    found = kernels.attention("cpu", (40, 1, 12))
    assert not found.ok and "too far: log-probs, causal" in found.said


def test_loss_health_and_gradients_are_checked_and_wrong_ones_noticed(monkeypatch):
    assert vocabulary.loss("cpu", rows=4, width=9, words=60, hidden=8).ok
    monkeypatch.setattr(
        vocabulary, "in_chunks", lambda *args, size: vocabulary.at_once(args[0], args[1] * 1.001, *args[2:])
    )
    found = vocabulary.loss("cpu", rows=4, width=9, words=60, hidden=8)
    assert not found.ok and "gradient of hidden states, scope" in found.said


def test_memory_of_a_vocabulary_is_told_by_its_size_and_adam_is_checked():
    found = vocabulary.vocabulary("cpu", (2, 8, 100, 4))
    assert found.ok and re.fullmatch(r"16 x 100 logits: [\d.]+ s, [\d.]+ s all at once", found.said)
    assert kernels.adam("cpu", 1000).ok


def test_a_teachers_scores_are_held_against_transformers_at_their_temperature(tmp_path):
    model = AutoModelForCausalLM.from_pretrained("examples/tiny/teacher", dtype=torch.float32)
    for name, temperature in (("right", 0.6), ("forgotten", 1.0)):
        log = ScoreLog(tmp_path / name, {"path": "examples/tiny/teacher"})
        for first in (3, 4):
            ids = torch.arange(first, first + 9)
            with torch.no_grad():
                logp = (model(ids[None]).logits[0, :-1] / temperature).log_softmax(-1).gather(-1, ids[1:, None])
            empty = torch.zeros(8, 0)
            log.put(
                ids.tolist(), 0, Score(ids[1:].int().numpy(), logp[:, 0].numpy(), empty.int().numpy(), empty.numpy())
            )
        log.close()
    found = {
        n: numbers.teacher("cpu", str(tmp_path / n), "examples/tiny/teacher", "0.6") for n in ("right", "forgotten")
    }
    assert found["right"].ok and found["right"].said.startswith("2 scores, float32: ")
    assert not found["forgotten"].ok


def test_the_checklist_of_the_docs_is_the_one_that_is_filled():
    shown = re.findall(r"^- \[.\].*$", Path("docs/gpu.md").read_text(), re.MULTILINE)
    assert shown == report.checklist()
    checks = [check for names, _ in steps.steps(Facts()) for check in names]
    assert sorted(check for _, check in CHECKLIST if check) == sorted(set(checks) - steps.ANOTHER_MACHINE.keys())


def test_a_line_is_ticked_by_what_passed_on_a_gpu_alone():
    lines = report.checklist(ROWS, CARD)
    (sync,) = (line for line in lines if "sync of params by CUDA IPC" in line)
    assert sync.startswith("- [x]")
    assert sync.endswith(f"(gpu-check: sync; PASS on {CARD}: vllm_kl at most 4.1e-03 nats)")
    assert sum(line.startswith("- [x]") for line in lines) == 2
    assert not any(line.startswith("- [x]") for line in report.checklist(ROWS))


def test_the_report_holds_rows_and_ends_of_logs_of_what_failed_and_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")
    (tmp_path / "a.log").write_text("\n".join(f"line {i}" for i in range(200)) + " hf_abcdefgh http://me:pass@host/")
    logs = {"sleep": [tmp_path / "a.log", tmp_path / "none.log"], "sync": [tmp_path / "b.log"]}
    text = report.report(ROWS, CARD, "torch 2.13.0", "  GPUs  ok", logs)
    assert text.startswith(f"# gpu-check: 2 PASS, 1 FAIL, 1 SKIP on {CARD}\n\ntorch 2.13.0\n")
    assert "| machine | PASS | 3 | driver 580.95.05 |" in text and "| graphs | SKIP | 0 | run failed |" in text
    assert "line 199" in text and "line 139" not in text and "sleep: the end of none.log" in text
    assert "b.log" not in text and "hf_abcdefgh" not in text and "me:pass" not in text and "<HF_TOKEN>" in text


def test_a_step_that_breaks_off_stops_no_other_and_the_exit_code_says_so(tmp_path, monkeypatch, capfd):
    def breaks(bench):
        yield "run", True, "3 steps"
        raise runs.CheckError("exit code 1: CUDA error")

    def well(bench):
        yield "lora", True, "2 steps"

    def chosen(facts):
        return [(("run", "resume", "sync"), breaks), (("lora",), well)]

    monkeypatch.setattr(steps, "steps", chosen)
    monkeypatch.setattr(steps, "gather", lambda folder: Facts())
    assert main(["gpu-check", "--out", str(tmp_path)]) == 1
    said = capfd.readouterr()
    assert re.sub(r" +\d+ s ", " ", said.out).splitlines()[1:5] == [
        "  run         PASS   3 steps".replace("   3", "  3"),
        "  resume      FAIL  exit code 1: CUDA error",
        "  sync        SKIP  resume failed",
        "  lora        PASS  2 steps",
    ]
    assert "2 PASS, 1 FAIL, 1 SKIP in" in said.out and said.err.startswith("error: failed: resume; see ")
    assert "exit code 1: CUDA error" in (tmp_path / "report.md").read_text()
    monkeypatch.setattr(steps, "steps", lambda facts: [(("lora",), well)])
    assert main(["gpu-check", "--out", str(tmp_path)]) == 0


def test_the_run_of_the_check_fits_on_one_card_by_the_plan(tmp_path):
    gpu = Gpu(CARD, 80.0, 79.0, (9, 0))
    bench = runs.Bench(tmp_path, (gpu,), print)
    config = Config.load(bench.config, bench.overrides("run"))
    parts = steps.estimated_gib(config, gpu.total_gib)
    assert parts["rollout engine"] == parts["teacher"] == 24.0 and 3 < parts["student"] < 5


def test_metrics_that_are_broken_are_named():
    row = {"step": 2, "loss": 1.0, "grad_norm": 1.0, "reverse_kl": 0.1, "vllm_kl": 1e-8}
    assert runs.broken([row]) == ""
    assert runs.broken([row | {"vllm_kl": None}]) == "vllm_kl of step 2 is None"
    assert runs.broken([row | {"loss": float("nan")}]) == "loss of step 2 is nan"
    assert runs.broken([row | {"grad_norm": 0.0}]) == "step 2 has no gradient"


@pytest.mark.slow
def test_the_whole_check_passes_on_this_machine_and_skips_what_takes_a_gpu(tmp_path, capfd):
    assert main(["gpu-check", "--out", str(tmp_path)]) == 0
    out = capfd.readouterr().out
    states = dict(re.findall(r"^  (\w+) +(PASS|FAIL|SKIP) ", out, re.MULTILINE))
    assert [check for check, state in states.items() if state == "PASS"] == [
        *("machine", "loss", "adam", "run", "resume", "sync", "teacher", "lora"),
    ]
    assert states.keys() - {c for c, state in states.items() if state == "PASS"} == {
        *("attention", "vocabulary", "sleep", "graphs", "memory", "nccl", "tensor", "ring"),
    }
    assert "- [x]" not in (tmp_path / "report.md").read_text()
