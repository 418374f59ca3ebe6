"""What needs torch and transformers alone, on CUDA in bf16 against float64 on the CPU. `make gpu-check` runs the same.

Without this project's environment, on a machine with torch, transformers, numpy, pyyaml and pytest:
`python -m pytest -p no:cacheprovider --noconftest tests/gpu`.
"""

import pytest
import torch

from scope_openrlhf.run.gpu_check import kernels, vocabulary

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA here; on a CPU: tests/run")


@pytest.mark.parametrize("check", [kernels.attention, kernels.adam, vocabulary.loss, vocabulary.vocabulary])
def test_on_cuda_it_is_as_near_to_float64_as_the_plain_way(check):
    found = check("cuda")
    print(found.said)
    assert found.ok, found.said
