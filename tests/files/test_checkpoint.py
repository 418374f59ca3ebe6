"""A checkpoint is whole or not there. Folders and bytes only; tests/run/test_resume.py has the real ones (slow)."""

import os

import pytest

from scope_openrlhf.files import checkpoint


def write(checkpoints, step, content=b"params"):
    part = checkpoint.begin(checkpoints / "_actor", f"global_step{step}")
    (part / "mp_rank_00_model_states.pt").write_bytes(content)
    (part / "zero_pp_rank_0_optim_states.pt").write_bytes(content * 3)
    return part


def names(checkpoints):
    return sorted(p.name for p in (checkpoints / "_actor").iterdir())


def test_the_newest_is_named_once_it_is_written_and_only_then_the_oldest_is_deleted(tmp_path):
    for step in (5, 10, 15):
        part = write(tmp_path, step)
        assert names(tmp_path).count("global_step5") == (step > 5)  # nothing is deleted before
        checkpoint.commit(part, keep=2)
        assert checkpoint.latest(tmp_path) == f"global_step{step}"
    assert names(tmp_path) == ["global_step10", "global_step15", "latest"]
    assert checkpoint.recover(tmp_path) == []


def test_steps_are_compared_as_numbers_and_max_mem_never_deletes_the_newest(tmp_path):
    for step in (9, 10):
        checkpoint.commit(write(tmp_path, step), keep=3, max_bytes=1)
    assert names(tmp_path) == ["global_step10", "latest"]


@pytest.mark.parametrize("disk_is_full_at", ["write", "manifest", "latest"])
def test_a_write_that_fails_leaves_the_one_before(tmp_path, disk_is_full_at):
    checkpoint.commit(write(tmp_path, 5), keep=1)
    part = write(tmp_path, 10)
    if disk_is_full_at == "manifest":  # a folder stands where a file is to be written: any OSError will do
        (part / checkpoint.MANIFEST).mkdir()
    elif disk_is_full_at == "latest":
        (tmp_path / "_actor" / "latest.new").mkdir()
    if disk_is_full_at != "write":
        with pytest.raises(OSError):
            checkpoint.commit(part, keep=1)
    assert checkpoint.latest(tmp_path) == "global_step5" and not checkpoint.damage(tmp_path / "_actor" / "global_step5")
    if disk_is_full_at == "latest":
        (tmp_path / "_actor" / "latest.new").rmdir()
    assert checkpoint.recover(tmp_path) == []
    # a checkpoint that was whole but not yet pointed to is the newest
    assert checkpoint.latest(tmp_path) == ("global_step10" if disk_is_full_at == "latest" else "global_step5")
    assert not any(name.endswith(".part") for name in names(tmp_path))


def cut_short(file):
    os.truncate(file, 7)


def zeroed(file):
    file.write_bytes(bytes(file.stat().st_size))  # what some file systems leave of a file after a power cut


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (cut_short, "has 7 of 18 bytes"),
        (zeroed, "not those that were written"),
        (os.remove, "optim_states.pt is missing"),
    ],
)
def test_a_torn_checkpoint_is_found_and_the_previous_one_is_used(tmp_path, harm, said):
    for step in (5, 10):
        checkpoint.commit(write(tmp_path, step), keep=2)
    harm(tmp_path / "_actor" / "global_step10" / "zero_pp_rank_0_optim_states.pt")
    (line,) = checkpoint.recover(tmp_path)
    assert "checkpoint global_step10 is torn" in line and said in line and "going on from global_step5" in line
    assert checkpoint.latest(tmp_path) == "global_step5" and (tmp_path / "torn" / "global_step10").exists()
    assert checkpoint.recover(tmp_path) == []


def test_without_a_whole_one_the_run_starts_again_and_says_so(tmp_path):
    checkpoint.commit(write(tmp_path, 5), keep=2)
    (tmp_path / "_actor" / "global_step5" / checkpoint.MANIFEST).write_text("{")
    (line,) = checkpoint.recover(tmp_path)
    assert "no readable MANIFEST" in line and "starts again at step 0" in line
    assert not (tmp_path / "_actor").exists() and checkpoint.latest(tmp_path) == ""


def test_checkpoints_of_before_manifests_are_taken_as_deepspeed_named_them(tmp_path):
    checkpoint.commit(write(tmp_path, 5), keep=2)
    (tmp_path / "_actor" / "global_step5" / checkpoint.MANIFEST).unlink()
    assert checkpoint.recover(tmp_path) == [] and checkpoint.latest(tmp_path) == "global_step5"
