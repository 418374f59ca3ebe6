"""A run's model, or that of a checkpoint, to a hub with its card. Nothing in the run's folder is changed."""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import httpx
from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id

from scope_openrlhf.files.disk import whole_rows
from scope_openrlhf.run.card import Pushed, make_card
from scope_openrlhf.run.folder import WHOLE, state_of
from scope_openrlhf.run.fork import checkpoint_of
from scope_openrlhf.run.listing import config_of
from scope_openrlhf.run.scores import read_scores
from scope_openrlhf.settings import api_keys
from scope_openrlhf.settings.config import origin_of
from scope_openrlhf.settings.errors import ConfigError

CARD = "README.md"
REFUSED = {
    400: "it takes this for no model",
    401: "it does not know this token; hf auth login, or HF_TOKEN in the environment, gives it a valid one",
    402: "it wants to be paid for this",
    403: "this token may not write there; give it the right to write, or name a repository of your own",
    404: "there is no such user, organisation or repository",
    409: "somebody else is changing this repository; push again",
    429: "it takes no more requests for now; push again later",
}
"""What a hub means by a status, and what to do."""


def push(source: str, repo: str, private: bool, endpoint: str | None, dry: bool, out: TextIO) -> None:
    """Upload a model and its card, or with `dry` only show both. Raises ConfigError.

    source: a run's folder, or a run and one of its checkpoints as runs/a@step60. endpoint: address of the hub; None:
    HF_ENDPOINT, or huggingface.co.
    """
    _check_id(repo)
    endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
    with model_of(source) as folder:
        model = about(source, repo)
        card = str(make_card(model))
        files = {file.name: file for file in sorted(folder.iterdir()) if _goes_along(file)}
        sizes = {name: file.stat().st_size for name, file in files.items()} | {CARD: len(card.encode())}
        listed = "\n".join(f"  {size:>15,}  {name}" for name, size in sorted(sizes.items()))
        whereto = f"{endpoint}/{repo}{' (private)' if private else ''}"
        total = f"{len(sizes)} files of {source}, {sum(sizes.values()):,} bytes"
        if dry:
            print(f"{total}, would go to {whereto}\n{listed}\n\n{CARD}:\n\n{card}", file=out, end="")
            return
        print(f"{total} -> {whereto}\n{listed}", file=out, flush=True)
        message = f"scope-train push: {model.run.resolve().name}, {model.step} steps"
        commit = _upload(HfApi(endpoint=endpoint), repo, private, files, card, message)
    print(f"pushed: {endpoint}/{repo}, commit {commit}", file=out)


def source_of(source: str) -> tuple[Path, int]:
    """Folder of a run, and the step of its checkpoint; step 0: the model that it made. Raises ConfigError."""
    return origin_of(source, "RUN") if "@step" in source else (Path(source), 0)


def about(source: str, repo: str) -> Pushed:
    """What the card says of a model. Raises ConfigError where there is no such run."""
    run, step = source_of(source)
    rows = whole_rows(run / "metrics.jsonl")
    done, steps = len(rows), rows[-1]["of"] if rows else 0
    scores = read_scores(run) if step in (0, done) and (run / "summary.json").exists() else None
    return Pushed(run=run, repo=repo, config=config_of(run), step=step or done, steps=steps, scores=scores)


@contextlib.contextmanager
def model_of(source: str) -> Iterator[Path]:
    """The folder of a model in Hugging Face form; that of a checkpoint is there while this is open.

    Raises ConfigError where there is none, or none yet.
    """
    run, step = source_of(source)
    config_of(run)  # or it is no run
    made = run / "exports" / f"step{step}"
    if step and not made.exists():
        checkpoint_of(run, step)
        from scope_openrlhf.run.export import export  # torch and transformers: seconds, which most pushes do not need

        with tempfile.TemporaryDirectory() as folder:
            export(run, step, Path(folder) / "model", io.StringIO())
            yield Path(folder) / "model"
        return
    if step:
        yield made
        return
    rows = whole_rows(run / "metrics.jsonl")
    far = f"{len(rows)} of {rows[-1]['of']} steps" if rows else "no step"
    if not (run / "model" / WHOLE).exists():
        raise ConfigError(
            f"{run} has no model yet: it has done {far} and is {state_of(run)}. Let it end, or push one of its "
            f"checkpoints, as {run}@step20"
        )
    if not (run / "summary.json").exists():
        raise ConfigError(
            f"{run} is not done: it is {state_of(run)} and its evaluation has not ended. Let it end (the same "
            f"scope-train run goes on), or push the model alone: {run}@step{len(rows)}"
        )
    yield run / "model"


def _goes_along(file: Path) -> bool:
    """Whether a file of a model's folder is uploaded: no marks of ours, and no card but the one that is made."""
    return file.is_file() and not file.name.startswith(".") and file.name != CARD


def _check_id(repo: str) -> None:
    """Raise ConfigError unless it is the id of a repository with its owner."""
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ConfigError(f"REPO_ID {repo!r} is none of a hub ({error}); write OWNER/NAME") from None
    if "/" not in repo:
        raise ConfigError(f"REPO_ID {repo!r} names no owner; write OWNER/{repo}")


def _upload(api: HfApi, repo: str, private: bool, files: dict[str, Path], card: str, message: str) -> str:
    """Create the repository if there is none, and commit the files to it; the commit that it has then.

    Raises ConfigError for whatever the hub refuses. The hub makes no commit of what it has already.
    """
    if not get_token():
        raise ConfigError("there is no token of the hub; hf auth login keeps one, or put it into HF_TOKEN")
    operations = [CommitOperationAdd(name, str(file)) for name, file in files.items()]
    operations.append(CommitOperationAdd(CARD, card.encode()))
    try:
        api.create_repo(repo, private=private or None, exist_ok=True)
        if private and not api.model_info(repo).private:
            raise ConfigError(f"{repo} is there already and public; make it private on the hub, or leave --private out")
        return api.create_commit(repo, operations, commit_message=message).oid
    except HfHubHTTPError as error:
        status = error.response.status_code
        why = REFUSED.get(status, "it failed; push again" if status >= 500 else "")
        said = " ".join(str(error.server_message or "").split())
        text = f"{api.endpoint} refuses {repo} with status {status}: {why}{said and f' (it says: {said})'}"
    except httpx.HTTPError as error:
        text = f"{api.endpoint} does not answer ({error}); see --endpoint and HF_ENDPOINT, or try again later"
    except (ValueError, OSError, RuntimeError) as error:
        if isinstance(error, ConfigError):
            raise
        text = f"{repo} was not pushed ({' '.join(str(error).split())}); HF_HUB_DISABLE_XET=1 is for a hub without Xet"
    raise ConfigError(api_keys.masked(text))
