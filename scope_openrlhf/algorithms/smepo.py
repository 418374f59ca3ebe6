"""SMEPO (arXiv 2605.25198): GRPO on prompts that carry an expert's worked solution with its results hidden.

    prompt = problem + intro + prefix(mask(trace), ratio) + tail
mask hides numbers, code and answers (data/masking.py); what is left is the way, not the result. Reward and objective
are GRPO's, under that prompt. Held-out problems never carry a trace. Traces come with the data (`data.trace_key`), or
the teacher writes them: `scope-train --traces FILE`. A problem without a trace is asked bare. With `ratio` 0 every
prompt is the problem alone, and this is GRPO.

`preset: released` is the published script: its clip, [1 - 0, 1 + 5] with verl's dual clip, the mean over sequences of
their token means, and its cut, which at a ratio of 1 still leaves out the last line, that of the answer in every trace
of GSM8K. What stays different: the code puts the trace into a closed turn of the assistant after the problem, here the
paper is followed; the ratio is one of tokens there and of characters here; and its masker hides "Step 3" where it meant
to keep it.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from scope_openrlhf.algorithms.base.contract import Asks
from scope_openrlhf.algorithms.base.policy_gradient import GrpoKnobs, PolicyGradient
from scope_openrlhf.data.masking import Placeholders, leaks, mask_trace, prefix, whole_lines
from scope_openrlhf.equations import weights
from scope_openrlhf.equations.batch import Rollouts
from scope_openrlhf.equations.metric_definitions import Metric
from scope_openrlhf.settings.ranges import ShareOrZero


@dataclass(frozen=True, kw_only=True)
class SmepoKnobs(GrpoKnobs):
    ratio: ShareOrZero = 1.0
    """How much of the masked trace is shown; 0 shows nothing."""
    preset: Literal["none", "released"] = "none"
    """released: short for what the published code sets; what is set beside it comes first. none: as each knob says."""
    cut: Literal["sentence", "line"] = "sentence"
    """Where the shown part ends. sentence: with the last sentence or line that is whole in it. line: before the line
    that it ends in, which at ratio 1 is the last one (released); a trace of one line stays as far as the ratio goes."""
    intro: str = "\n\nHere is how an expert solved it, with numbers, code and results hidden:\n\n"
    """Before the trace."""
    tail: str = "\n\nSolve the problem yourself, step by step."
    """After the trace."""
    number: str = "[NUMBER]"
    """Stands for a number that is hidden."""
    code: str = "[CODE]"
    """Stands for a block of code that is hidden."""
    entity: str = "[ENTITY]"
    """Stands for an answer in words that is hidden."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "released": {"clip_low": 0.0, "clip_high": 5.0, "dual_clip": 3.0, "normalize": "sequences", "cut": "line"}
    }


class Smepo(PolicyGradient[SmepoKnobs]):
    Config = SmepoKnobs
    metrics = (
        Metric("trace_hinted", "Rollouts whose prompt carried a trace.", "count"),
        Metric("trace_leaks", "Rollouts whose prompt carried a trace in which the gold answer still stood.", "count"),
    )

    @property
    def asks(self) -> Asks:
        shows = self.knobs.ratio > 0
        return Asks(traces=shows, hinted_prompts=shows)

    def prompt_hint(self, answer: str, trace: str | None) -> tuple[str, bool]:
        knobs = self.knobs
        placeholders = Placeholders(knobs.number, knobs.code, knobs.entity)
        cut = prefix if knobs.cut == "sentence" else whole_lines
        shown = cut(mask_trace(trace, answer, placeholders), knobs.ratio) if trace else ""
        if not shown:
            return "", False
        return f"{knobs.intro}{shown}{knobs.tail}", leaks(shown, answer, placeholders)

    def advantages(self, rollouts: Rollouts) -> Tensor:
        return weights.group_standardized(rollouts.right_N.double(), rollouts.group_N, self.knobs.eps)


ALGORITHM = Smepo
