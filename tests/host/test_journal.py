"""The rows that a run writes of its steps."""

import pytest

from scope_openrlhf.files.disk import whole_rows
from scope_openrlhf.host.journal import StepLog


def test_rewriting_a_log_where_nothing_can_be_written_keeps_the_old_one(tmp_path):
    log = StepLog(tmp_path)
    log.metrics_file.write_text('{"step": 1}\n{"step": 2}\n')
    (tmp_path / "metrics.jsonl.new").mkdir()
    with pytest.raises(OSError):
        log.forget_after(1)
    assert [row["step"] for row in whole_rows(log.metrics_file)] == [1, 2]
