"""lm-eval's process_results for all tasks here: every sample graded by the one verifier. Named in the YAML as `!function`."""

from scope_openrlhf.verifier import verify


def process_results(doc: dict, results: list) -> dict:
    """Share of right samples, whether any is right, and the verdict of each. `results` is [[text, ...]]: the filter keeps all."""
    (texts,) = results
    verdicts = [verify(str(doc["answer"]), text).verdict for text in texts]
    right = [v == "right" for v in verdicts]
    return {"avg": sum(right) / len(right), "pass": float(any(right)), "verdicts": verdicts}


def failed_share(verdicts: list[list[str]]) -> float:
    """lm-eval's aggregation of `verdicts`: the share of samples that the grader could not decide."""
    flat = [v for problem in verdicts for v in problem]
    return flat.count("failed") / len(flat)
