"""The held-out problems of a run: what its evaluation would refuse after training is told before."""

from pathlib import Path
from typing import Any

from scope_openrlhf.data.benchmark import Columns, check
from scope_openrlhf.data.files import read_file
from scope_openrlhf.data.prompts import as_text, lengths, unfolded, with_hint, with_system
from scope_openrlhf.models.loading import positions
from scope_openrlhf.settings.config import Config
from scope_openrlhf.settings.errors import ConfigError
from scope_openrlhf.settings.sections import EvalConfig


def read_held_out(config: EvalConfig) -> list[dict[str, str]]:
    """The held-out problems, none where none are wanted. Raises ConfigError if they cannot be scored."""
    if not config.path:
        return []
    called = f"eval.path {config.path}"
    columns = Columns(id=config.id_key, problem=config.prompt_key, answer=config.answer_key)
    return check(read_file(Path(config.path), called), called, columns)


def check_asked(problems: list[dict[str, str]], config: Config, tokenizer: Any, model_config: Any) -> None:
    """Raise ConfigError for a held-out problem that the chat template refuses, or that has no room for its response.

    tokenizer, model_config: the student's.
    """
    texts = []
    for problem in problems:
        following = f"\n\n{config.eval.instruction}" if config.eval.instruction else ""
        prompt = with_system(with_hint(unfolded(problem["problem"]), following), config.data.system)
        try:
            texts.append(as_text(tokenizer, prompt, config.student))
        except ValueError as error:
            raise ConfigError(f"eval.path {config.eval.path}, problem {problem['id']}: {error}") from None
    sizes, limit, most = lengths(tokenizer, texts), positions(model_config), config.eval.max_tokens
    longest = max(range(len(sizes)), key=sizes.__getitem__, default=None)
    if longest is not None and sizes[longest] + most > limit:
        room = limit - sizes[longest]
        todo = f"set eval.max_tokens to {room} or less" if room > 0 else "remove such problems"
        raise ConfigError(
            f"eval.path {config.eval.path}, problem {problems[longest]['id']} has {sizes[longest]} tokens, which with "
            f"eval.max_tokens {most} is more than the {limit} positions of student.path; {todo}"
        )
