"""Line that a run shows of each step."""

from scope_openrlhf.run.summary import progress_line

ROW = {"step": 3, "of": 10, "reward": 0.25, "right": 2.0, "wrong": 6.0, "seconds": {"generate": 1.0, "total": 3.75}}
ROW |= {"ppl_student_right": None, "ppl_teacher_wrong": 2.5, "reverse_kl": 0.5}


def test_a_progress_line_shows_share_right_perplexities_and_time_left():
    line = progress_line(ROW, mean_seconds=10.0)
    assert "step    3/10" in line and "right  25%" in line and "student - teacher 2.50" in line and "left 1:10" in line
    assert "3.8 s (generate 1.0)" in line
