"""A prompt of the data as the model gets it."""

from typing import Any


def as_messages(prompt: Any) -> list[dict]:
    """A prompt in chat form. prompt: text, or chat messages already."""
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def as_text(tokenizer: Any, prompt: Any) -> str:
    """A prompt under the model's chat template, up to where the response begins."""
    return tokenizer.apply_chat_template(as_messages(prompt), tokenize=False, add_generation_prompt=True)


def prompt_lengths(tokenizer: Any, prompts: list) -> list[int]:
    """Number of tokens of each prompt, template included."""
    texts = [as_text(tokenizer, prompt) for prompt in prompts]
    return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []


def with_hint(prompt: Any, hint: str) -> Any:
    """The prompt with the hint at the end of its last message."""
    if isinstance(prompt, str):
        return prompt + hint
    *before, last = prompt
    content = last["content"]
    # parts of a message, where pictures stand beside texts
    hinted = content + hint if isinstance(content, str) else [*content, {"type": "text", "text": hint}]
    return [*before, last | {"content": hinted}]
