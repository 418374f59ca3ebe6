"""Which models say their logits with a plain head, last of all."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from scope_openrlhf.models.head import answering, head_is_last, head_of, without_storage

SMALL = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 50, "pad_token_id": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "last"),
    [("qwen2", True), ("qwen3", True), ("llama", True), ("qwen3_moe", True), ("gemma2", False), ("granite", False)],
)
def test_a_head_whose_logits_are_capped_or_scaled_afterwards_is_not_the_last(kind, last):
    config = AutoConfig.for_model(kind, **SMALL)
    assert head_is_last(without_storage(AutoModelForCausalLM.from_config, config)) is last


def test_an_adapted_head_is_no_plain_one_and_an_answering_function_leaves_when_it_is_done():
    from peft import LoraConfig, get_peft_model

    plain = AutoModelForCausalLM.from_pretrained("examples/tiny/student", dtype=torch.float32)
    ids = torch.tensor([[3, 9, 6]])
    before, head = plain(ids).logits, head_of(plain)
    with answering(head, lambda hidden: hidden.sum()):
        assert plain(ids).logits.shape == ()
    assert torch.equal(plain(ids).logits, before)
    peft = get_peft_model(plain, LoraConfig(r=2, target_modules=["q_proj"]))
    assert head_of(peft) is head
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained("examples/tiny/student"), LoraConfig(r=2, target_modules=["lm_head"])
    )
    assert head_of(adapted) is None
