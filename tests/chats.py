"""Chat templates as models bring them, shortened, on the tiny student's tokenizer or in a copy of its folder."""

import shutil
from pathlib import Path

TINY = Path("examples/tiny/student")
BLANK = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
END = "{% if add_generation_prompt %}<|assistant|>{% endif %}"
TEMPLATES = {
    # Qwen 3: an argument
    "thinks": BLANK
    + END
    + "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}",
    # Llama 3: today's date, unless it is given another
    "dates": "{% if not date_string is defined %}{% if strftime_now is defined %}"
    '{% set date_string = strftime_now("%d %b %Y") %}{% endif %}{% endif %}{{ "Today: " + date_string + ";" }}'
    + BLANK
    + END,
    # Gemma 2
    "refuses": "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + BLANK
    + END,
    # the tiny student's own
    "ignores": "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}{% endif %}{% endfor %}" + END,
    # SmolLM 3
    "edits": "{% for m in messages %}<|{{ m.role }}|>{{ m.content.replace('/no_think', '').strip() }}{% endfor %}"
    + END,
}


def tokenizer(template: str):
    """The tiny student's tokenizer under one of the templates."""
    from transformers import AutoTokenizer  # seconds, which tests of other things need not wait for

    found = AutoTokenizer.from_pretrained(TINY)
    found.chat_template = TEMPLATES[template]
    return found


def model(folder: Path, template: str, of: Path = TINY) -> str:
    """A copy of a model under one of the templates."""
    shutil.copytree(of, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATES[template])
    return str(folder)
