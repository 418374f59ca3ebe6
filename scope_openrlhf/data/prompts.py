"""A prompt of the data as the model gets it."""

import json
import re
from typing import Any

from scope_openrlhf.files.rows import read_json
from scope_openrlhf.models.chat_template import arguments
from scope_openrlhf.settings.sections import StudentConfig

Prompt = str | list[dict[str, str]]
"""Text, or chat messages: {"role": system, user or assistant, "content": text} each, the last one the user's."""

ROLES = {"system": "system", "user": "user", "assistant": "assistant", "human": "user", "gpt": "assistant"}
"""Roles as data spell them, ShareGPT's among them, and what chat templates call them."""


PICTURE = "<image>"
"""What data write where a picture belongs."""
_FOLDED = '[{"role": "'
"""How messages begin that stand in a text: `folded` wrote them, for it folds a text that begins so as well."""


def read_prompt(value: object) -> Prompt:
    """A prompt as data spell it -> text or chat messages.

    value: text, chat messages, one message, those of ShareGPT (from, value), or messages as JSON in a text; contents
    may be lists of text parts. Raises ValueError with a sentence about the value.
    Example: [{"from": "human", "value": "1+1?"}] -> [{"role": "user", "content": "1+1?"}]
    """
    try:
        value = _without_arrays(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if value is None:
        raise ValueError("it is missing")
    if isinstance(value, str):
        messages = _messages_in(value)
        if messages is None:
            return _sound(value, "it")
        value = messages
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise ValueError(f"it is {value!r:.60}, of type {type(value).__name__}: neither a text nor chat messages")
    if not value:
        raise ValueError("it is an empty list of messages")
    read = [_read_message(number, message) for number, message in enumerate(value, 1)]
    if (last := read[-1]["role"]) != "user":
        raise ValueError(f"its last message is of role {last}; it must end with the user's message, which is answered")
    return read


def _without_arrays(value: Any) -> Any:
    """The value with tuples and numpy's arrays, as pandas reads them from parquet, turned into lists."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _without_arrays(inner) for key, inner in value.items()}
    return [_without_arrays(inner) for inner in value] if isinstance(value, list | tuple) else value


def _messages_in(text: str) -> Any:
    """Messages that stand as JSON in a text, alone or in an object; None where it is a text like any other.

    Raises ValueError if they cannot be read: as Python prints them, or broken.
    """
    found = re.match(r"""\s*\[?\s*\{\s*(["'])""", text)
    if not found or not any(f"{found[1]}{key}{found[1]}" in text for key in ("role", "from")):
        return None
    if not text.rstrip().endswith(("}", "]")):
        return None
    if found[1] == "'":
        raise ValueError("it is a text of messages as Python prints them; write them as JSON or a list")
    try:
        return read_json(text)
    except ValueError as error:
        raise ValueError(f"it is a text of messages that {error}") from None


def _read_message(number: int, message: Any) -> dict[str, str]:
    if not isinstance(message, dict):
        raise ValueError(
            f"it is a list of {type(message).__name__} ({message!r:.60}), not of messages with role, content"
        )
    role, content = (
        next((message[key] for key in keys if message.get(key) is not None), None)
        for keys in (("role", "from"), ("content", "value"))
    )
    if role is None and content is None:
        raise ValueError(
            f"its message {number} has neither role nor content but the keys {', '.join(map(str, message))}; where one "
            "of them holds the problem, name it with a dot"
        )
    if not isinstance(role, str) or role.strip().lower() not in ROLES:
        raise ValueError(f"its message {number} has the role {role!r:.60}; known are {', '.join(ROLES)}")
    known = ROLES[role.strip().lower()]
    return {"role": known, "content": _read_content(content, f"its message {number}", known)}


def _read_content(content: Any, where: str, role: str) -> str:
    if isinstance(content, list):
        for part in content:
            if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                kind = part.get("type") if isinstance(part, dict) else type(part).__name__
                raise ValueError(f"{where} holds a part of type {kind!r:.40}; parts must be texts: type text, text ...")
        content = "\n".join(part["text"] for part in content)  # as vLLM's server joins them
    if not isinstance(content, str):
        raise ValueError(f"{where} has no text as its content but {content!r:.60}")
    # an empty system message is how data keep a template from putting its own
    return content if role == "system" and not content.strip() else _sound(content, where)


def _sound(text: str, where: str) -> str:
    """The text itself. Raises ValueError if it is blank, asks about a picture, or is no text that UTF-8 can spell."""
    if not text.strip():
        raise ValueError(f"{where} is empty")
    if PICTURE in text:
        raise ValueError(f"{where} holds {PICTURE}, the place of a picture that nobody is shown")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where} holds half a surrogate pair, which is no text") from None
    return text


def with_system(prompt: Prompt, system: str) -> Prompt:
    """The prompt after a system prompt, unless it brings one of its own. system: empty for none."""
    if not system or (messages := as_messages(prompt))[0]["role"] == "system":
        return prompt
    return [{"role": "system", "content": system}, *messages]


def folded(prompt: Prompt) -> str:
    """A prompt as one text, for what holds texts alone: the user's one message, or all messages as JSON."""
    messages = as_messages(prompt)
    alone = len(messages) == 1 and not messages[0]["content"].startswith(_FOLDED)
    return messages[0]["content"] if alone else json.dumps(messages, ensure_ascii=False)


def unfolded(text: str) -> Prompt:
    """What was folded; what was written after it stands at the end of its last message."""
    if not text.startswith(_FOLDED):
        return text
    try:
        messages, end = json.JSONDecoder().raw_decode(text)
        return with_hint(read_prompt(messages), text[end:])
    except (ValueError, RecursionError):  # lm-eval's own tasks fold nothing
        return text


def as_messages(prompt: Prompt) -> list[dict[str, str]]:
    """A prompt in chat form."""
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def as_text(tokenizer: Any, prompt: Prompt, student: StudentConfig) -> str:
    """A prompt under the model's chat template, up to where the response begins. Nothing else renders a prompt.

    student: says what the template is given beside it. Raises ValueError with a sentence if the template refuses the
    prompt, or leaves its system message out.
    """
    messages, given = as_messages(prompt), arguments(tokenizer, student)
    text = _rendered(tokenizer, messages, given)
    system = messages[0]["content"] if messages[0]["role"] == "system" else ""
    if system.strip() not in text:  # it may have been changed on its way, which another one shows
        other = [messages[0] | {"content": f"{system} ?"}, *messages[1:]]
        if _rendered(tokenizer, other, given) == text:
            raise ValueError(f"the chat template leaves out the system message {system!r:.60}")
    return text


def _rendered(tokenizer: Any, messages: list[dict[str, str]], given: dict[str, Any]) -> str:
    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **given)
    except Exception as error:  # border to somebody's template, which is a program: any exception means the same
        raise ValueError(f"the chat template refuses it ({error})") from error


def lengths(tokenizer: Any, texts: list[str]) -> list[int]:
    """Number of tokens of each rendered prompt."""
    return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []


def with_hint(prompt: Prompt, hint: str) -> Prompt:
    """The prompt with the hint at the end of its last message."""
    if isinstance(prompt, str):
        return prompt + hint
    *before, last = prompt
    return [*before, last | {"content": last["content"] + hint}]
