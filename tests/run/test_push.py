"""scope-train push: huggingface_hub's own client against a stand-in of a hub, over HTTP."""

import socket

import pytest
from finished import append, finished_run, row
from hub import Hub
from huggingface_hub import ModelCard, constants
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

from scope_openrlhf.run.card import hub_id, portable
from scope_openrlhf.run.cli import main

FILES = ("chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
         "tokenizer_config.json")  # fmt: skip


@pytest.fixture(autouse=True)
def token(monkeypatch):
    """The right token, no hub but the stand-in, and LFS: Xet is a protocol of huggingface.co's own servers."""
    monkeypatch.setenv("HF_TOKEN", "right")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    disable_progress_bars()
    yield
    enable_progress_bars()


@pytest.fixture
def hub():
    hub = Hub()
    yield hub
    hub.server.shutdown()


def contents(folder) -> dict:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def pushed(hub, run, *flags, repo="me/tiny") -> int:
    return main(["push", str(run), repo, "--endpoint", hub.address, *flags])


def test_every_byte_of_the_model_arrives_the_params_over_lfs_and_the_run_stays_as_it_is(tmp_path, hub, capfd):
    run = finished_run(tmp_path)
    before = contents(tmp_path)
    assert pushed(hub, run) == 0
    assert "7 files of" in (said := capfd.readouterr().out) and f"pushed: {hub.address}/me/tiny" in said
    arrived = hub.repos["me/tiny"]
    assert {n: arrived[n] for n in FILES} == {n: (run / "model" / n).read_bytes() for n in FILES}
    assert set(arrived) == {*FILES, "README.md"}
    assert list(hub.stored.values()) == [arrived["model.safetensors"]]
    assert "POST /me/tiny.git/info/lfs/objects/batch" in hub.asked
    assert contents(tmp_path) == before


def test_a_second_push_makes_no_commit(tmp_path, hub):
    run = finished_run(tmp_path)
    assert pushed(hub, run) == 0 and pushed(hub, run) == 0
    assert len(hub.commits) == 1 and sum("PUT" in a for a in hub.asked) == 1


def test_the_card_says_how_the_model_was_made_and_what_it_scores(tmp_path, hub):
    run = finished_run(tmp_path, "teacher.path=Qwen/Qwen3-8B", "student.path=Qwen/Qwen3-1.7B", "data.system=a `b` ```")
    assert pushed(hub, run) == 0
    (tmp_path / "README.md").write_bytes(hub.repos["me/tiny"]["README.md"])
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.base_model == "Qwen/Qwen3-1.7B" and card.data.to_dict()["base_model_relation"] == "finetune"
    found = {r.metric_type: (r.metric_value, r.metric_name, r.dataset_name) for r in card.data.eval_results}
    assert found == {
        "avg@2": (75.0, "Avg@2 in percent, 95% interval 70.00 to 80.00", "heldout (held-out problems)"),
        "pass@2": (100.0, "Pass@2 in percent, 95% interval 90.00 to 100.00", "heldout (held-out problems)"),
    }
    for line in (
        "[Qwen/Qwen3-8B](https://huggingface.co/Qwen/Qwen3-8B)",
        "https://arxiv.org/abs/2604.10688",
        "| before | 25.00 [20.00, 30.00] | 50.00 [40.00, 60.00] |",
        "| difference | +50.00 [+45.00, +55.00] | +50.00 [+40.00, +60.00] |",
        "4 problems of `heldout.jsonl`, 2 samples each",
        "3 of 3, each of 16 prompts x 8 rollouts; seed 1",
        "train.jsonl` (sha256 `",
        "````yaml\nname: a\n",  # a fence that the system prompt does not close
        "openrlhf 0.11.2",
    ):
        assert line in card.text


def test_a_local_student_is_no_base_model_and_nothing_of_this_machine_is_told(tmp_path, hub):
    run = finished_run(tmp_path, "teacher.urls=[http://10.0.0.7:8000]", f"data.path={tmp_path}/my.jsonl")
    assert pushed(hub, run) == 0
    card = hub.repos["me/tiny"]["README.md"].decode()
    assert "base_model" not in card and "no hub id" in card
    assert str(tmp_path) not in card and "10.0.0.7" not in card and "path: my.jsonl" in card


def test_places_of_this_machine_become_names_and_other_texts_stay():
    given = {"a": ["/home/me/x/data.jsonl", "/no_think", "examples/tiny/student"], "b": "https://host:1/v1", "c": 1.5}
    assert portable(given) == {"a": ["data.jsonl", "/no_think", "examples/tiny/student"], "b": "<address>", "c": 1.5}
    assert [hub_id(p) for p in ("Qwen/Qwen3-8B", "gpt2", "examples/tiny", "/a/b", "./a", "my/data.jsonl")] == [
        "Qwen/Qwen3-8B", "gpt2", "", "", "", ""]  # fmt: skip


def test_a_dry_run_shows_files_and_card_and_asks_nobody(tmp_path, hub, capfd, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    run = finished_run(tmp_path)
    assert pushed(hub, run, "--dry-run", "--private") == 0
    said = capfd.readouterr().out
    assert f"would go to {hub.address}/me/tiny (private)" in said
    assert f"{(run / 'model' / 'model.safetensors').stat().st_size:,}  model.safetensors" in said
    assert "# tiny\n" in said and not hub.asked


def test_a_private_repository_is_made_and_a_public_one_is_not_taken_for_it(tmp_path, hub, capfd):
    run = finished_run(tmp_path)
    assert pushed(hub, run, "--private") == 0 and hub.public == {"me/tiny": False}
    hub.public["me/tiny"] = True
    assert pushed(hub, run, "--private") == 2
    assert "me/tiny is there already and public" in capfd.readouterr().err


@pytest.mark.parametrize(
    "part, status, told",
    [
        ("/api/repos/create", 403, "status 403: this token may not write there"),
        ("/preupload/", 404, "status 404: there is no such user, organisation or repository"),
        ("/commit/", 409, "status 409: somebody else is changing this repository; push again"),
        ("/commit/", 500, "status 500: it failed; push again"),
    ],
)
def test_what_the_hub_refuses_is_one_line(tmp_path, hub, capfd, part, status, told):
    hub.refuse[part] = status
    assert pushed(hub, finished_run(tmp_path)) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: {hub.address} refuses me/tiny with {told}")


def test_a_wrong_token_none_and_a_hub_that_is_not_there_are_told_with_what_to_do(tmp_path, hub, capfd, monkeypatch):
    run = finished_run(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "wrong")
    assert pushed(hub, run) == 2
    assert "status 401: it does not know this token; hf auth login" in (said := capfd.readouterr().err)
    assert "wrong" not in said
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    assert pushed(hub, run) == 2
    assert capfd.readouterr().err == (
        "error: there is no token of the hub; hf auth login keeps one, or put it into HF_TOKEN\n"
    )
    monkeypatch.setenv("HF_TOKEN", "right")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert main(["push", str(run), "me/tiny", "--endpoint", nobody]) == 2
    assert f"error: {nobody} does not answer" in capfd.readouterr().err


def test_a_run_without_a_whole_model_is_refused_with_what_there_is(tmp_path, hub, capfd):
    run = finished_run(tmp_path, done=False)
    for source, repo, told in (
        (run, "me/tiny", "has no model yet: it has done 3 of 3 steps and is stopped"),
        (f"{run}@step2", "me/tiny", "has no checkpoint of step 2; it has none"),
        (tmp_path, "me/tiny", "is no run"),
        (run, "tiny", "names no owner; write OWNER/tiny"),
        (run, "me/ti ny", "is none of a hub"),
    ):
        assert pushed(hub, source, repo=repo) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert told in line
    assert not hub.asked


def test_an_exported_checkpoint_is_pushed_without_the_scores_of_another_model(tmp_path, hub):
    run = finished_run(tmp_path)
    (run / "model").rename(run / "exports.tmp")
    (run / "exports").mkdir()
    (run / "exports.tmp").rename(run / "exports" / "step2")
    assert pushed(hub, f"{run}@step2") == 0
    card = hub.repos["me/tiny"]["README.md"].decode()
    assert "2 of 3, each of" in card and "not evaluated by its run" in card and "model-index" not in card


def test_what_a_config_holds_cannot_leave_its_place_in_the_card(tmp_path, hub):
    run = finished_run(tmp_path, "data.path='a | b ` c'")
    append(run, row(4, 4))
    assert pushed(hub, run) == 0
    assert "| data | `a b c`; 1 prompts" in hub.repos["me/tiny"]["README.md"].decode()
