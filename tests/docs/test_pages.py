"""README and docs: links lead somewhere, names of files are files, keys are keys, and a newcomer has little to read."""

import dataclasses
import importlib.util
import re
import typing
from pathlib import Path

import pytest
from pages import FENCE, PAGES, ROOT, prose

from scope_openrlhf import algorithms
from scope_openrlhf.algorithms.base.contract import Knobs
from scope_openrlhf.host.flags import REFUSED, derived_flags
from scope_openrlhf.settings.config import Config

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
WRITTEN_BY_A_STUDY = "docs/compare.md"
SUFFIXES = ("py", "md", "yaml", "sh", "lock", "toml", "cff")
OF_RUNS = ("runs/", "config.yaml", "report.md")
"""Beginnings of names of files that a run or an evaluation writes."""


def anchors(page: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", (ROOT / page).read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def files_named(page: str) -> list[str]:
    """What stands in backticks and looks like a file of this repository."""
    return [name for name in CODE.findall(prose(page)) if re.fullmatch(rf"[\w./-]+\.({'|'.join(SUFFIXES)})", name)]


def keys_named(page: str) -> set[str]:
    """What looks like a key of the config, in backticks or in a command."""
    sections = "data|student|teacher|eval|ray|algorithm|openrlhf"
    texts = [
        *CODE.findall(prose(page)),
        *(block for language, block in FENCE.findall(PAGES[page]) if language == "bash"),
    ]
    return {key for text in texts for key in re.findall(rf"(?<![\w./-])(?:{sections})(?:\.\w+)+(?![\w/(])", text)}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(page):
    for link in LINK.findall(prose(page)):
        if not link.startswith("http"):
            target, _, anchor = link.partition("#")
            file = (ROOT / page).parent / target if target else ROOT / page
            assert file.exists(), link
            assert not anchor or anchor in anchors(str(file.resolve().relative_to(ROOT))), link


@pytest.mark.parametrize("page", PAGES)
def test_every_name_of_a_file_is_that_of_a_file(page):
    bare = {file.name for folder in ("scope_openrlhf", "eval", "docs") for file in (ROOT / folder).rglob("*.*")}
    for name in files_named(page):
        known = (ROOT / name).exists() or (ROOT / "scope_openrlhf" / name).exists()
        assert known or name in bare or name.startswith(OF_RUNS), name


@pytest.mark.parametrize("page", PAGES)
def test_every_key_is_one_that_a_config_may_have(page):
    known = known_keys()
    for key in keys_named(page) - OTHER_PROJECTS:
        assert key in known or any(k.startswith(f"{key}.") for k in known) or key.endswith((*SUFFIXES, "html")), key


OTHER_PROJECTS = {
    *("data.train_files", "data.val_files", "data.train_batch_size", "data.max_prompt_length", "data.seed"),
    *("data.max_response_length", "data.filter_overlong_prompts", "algorithm.adv_estimator", "algorithm.kl_ctrl"),
    *("algorithm.norm_adv_by_std_in_grpo", "algorithm.use_kl_in_reward", "algorithm.filter_groups.enable"),
    *("algorithm.rollout_correction.rollout_is", "algorithm.rollout_correction.rollout_is_threshold"),
    "data.apply_chat_template_kwargs",
}
"""Keys of verl that begin as ours do."""


def known_keys() -> set[str]:
    """Keys of the config, of every algorithm and of OpenRLHF's parser."""
    hints = typing.get_type_hints(Config)
    sections = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    keys = {f"{name}.{f.name}" for name, hint in sections.items() for f in dataclasses.fields(hint)}
    knobs: list[type[Knobs]] = [algorithms.load(name).Config for name in algorithms.known()]
    keys |= {f"algorithm.{f.name}" for config in knobs for f in dataclasses.fields(config)} | {"algorithm.name"}
    keys |= {f"algorithm.{name}" for name in algorithms.known()}  # as `scope-train config` takes them
    (folder,) = importlib.util.find_spec("openrlhf").submodule_search_locations
    parser = (Path(folder) / "cli" / "train_ppo_ray.py").read_text().replace("{prefix}", "actor")
    return keys | {f"openrlhf.{flag}" for flag in re.findall(r'"--([\w.]+)"', parser)}


def test_every_flag_of_openrlhf_that_is_not_passed_on_is_told_what_to_set_instead():
    derived = derived_flags(Config.load("examples/cpu_tiny.yaml", []))
    told = set(re.findall(r"`--([\w.]+)", PAGES["docs/coming-from.md"]))
    assert derived.keys() | REFUSED.keys() <= told


def test_readme_is_a_front_page_from_which_every_other_page_is_found():
    assert 10_000 <= len((ROOT / "README.md").read_bytes()) <= 12_288
    assert {page for page in PAGES if page.startswith("docs/")} <= set(LINK.findall(PAGES["README.md"]))
    rows = re.findall(r"^\| `(\w+)` \|.*\] \|$", PAGES["README.md"], re.MULTILINE)
    assert sorted(rows) == algorithms.known()


@pytest.mark.parametrize("page", sorted(PAGES.keys() - {WRITTEN_BY_A_STUDY}))
def test_lines_of_prose_are_at_most_120_characters(page):
    assert [line for line in prose(page).splitlines() if len(line) > 120 and not line.startswith("|")] == []


@pytest.mark.parametrize("page", sorted(PAGES.keys() - {WRITTEN_BY_A_STUDY, "CHANGELOG.md"}))
def test_no_page_shows_an_old_spelling(page):
    old = r"--probe\b|--traces|--audit|--input\b|scope-train --config|python -m scope_eval"
    assert re.findall(old, PAGES[page]) == []
