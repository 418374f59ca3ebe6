"""Data that the recipes name, and no hub."""

import pytest


@pytest.fixture
def deepmath(tmp_path, monkeypatch):
    """Four batches of problems in DeepMath's form, and no hub."""
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    row = {"question": "1+1?", "final_answer": "2"}
    datasets.Dataset.from_list([row] * 1024).to_parquet(str(tmp_path / "d.parquet"))
    return f"data.path={tmp_path}/d.parquet"
