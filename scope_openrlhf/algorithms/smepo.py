"""SMEPO (arXiv 2605.25198): GRPO on prompts that carry an expert's worked solution, with what the reward asks for hidden in it.

    prompt = problem + intro + prefix(mask(trace), ratio) + tail
mask hides numbers, code and answers (masking.py); what is left is the way, not the result. Reward and objective are GRPO's, under that prompt.
Held-out problems never carry a trace. Traces come with the data (`data.trace_key`), or the teacher writes them: `scope-train --traces FILE`.
A problem without a trace is asked bare. With `ratio` 0 every prompt is the problem alone, and this is GRPO.

The published code puts the trace into a closed turn of the assistant after the problem instead; here the paper is followed. In metrics.jsonl
`trace_hinted` counts the rollouts whose prompt carried a trace, `trace_leaks` those of them in whose trace the gold answer still stood.
"""

from dataclasses import dataclass

from scope_openrlhf.algorithms.grpo import Grpo
from scope_openrlhf.data.masking import Placeholders, leaks, mask_trace, prefix


class Smepo(Grpo):
    @dataclass(frozen=True, kw_only=True)
    class Config(Grpo.Config):
        ratio: float = 1.0
        """How much of the masked trace is shown, cut at the end of a sentence or line; 0 shows nothing."""
        intro: str = "\n\nHere is how an expert solved it, with numbers, code and results hidden:\n\n"
        tail: str = "\n\nSolve the problem yourself, step by step."
        """Before and after the trace."""
        number: str = "[NUMBER]"
        code: str = "[CODE]"
        entity: str = "[ENTITY]"
        """What stands for what is hidden."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.ratio <= 1:
                raise ValueError(f"algorithm.ratio must lie between 0 and 1, got {self.ratio}")

    @property
    def uses_trace(self) -> bool:
        c: Smepo.Config = self.config  # type: ignore[assignment]
        return c.ratio > 0

    @property
    def hints_prompts(self) -> bool:
        return self.uses_trace

    def prompt_hint(self, answer: str, trace: str) -> tuple[str, bool]:
        c: Smepo.Config = self.config  # type: ignore[assignment]
        placeholders = Placeholders(c.number, c.code, c.entity)
        shown = trace and prefix(mask_trace(trace, answer, placeholders), c.ratio)
        return (f"{c.intro}{shown}{c.tail}", leaks(shown, answer, placeholders)) if shown else ("", False)


ALGORITHM = Smepo
