"""Data that the recipes name, and no hub."""

import pytest


@pytest.fixture
def deepmath(tmp_path, monkeypatch):
    """Four batches of problems in verl's form, and no hub."""
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    row = {
        "data_source": "deepmath",
        "prompt": [{"role": "user", "content": "1+1?"}],
        "reward_model": {"ground_truth": "2", "style": "rule"},
    }
    datasets.Dataset.from_list([row] * 1024).to_parquet(str(tmp_path / "d.parquet"))
    return f"data.path={tmp_path}/d.parquet"
