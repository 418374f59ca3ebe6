"""The tables that docs/reference.py writes, and what is said of this software elsewhere."""

import importlib.util
import tomllib
from dataclasses import dataclass, field

import pytest
import yaml
from pages import PAGES, ROOT

from scope_openrlhf.run.schema import FILE
from scope_openrlhf.settings.meanings import keys_of

spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
assert spec and spec.loader
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)


@pytest.mark.parametrize("file", ["config.md", "metrics.md"])
def test_a_page_holds_what_the_code_says_today(file):
    page = PAGES[f"docs/{file}"]
    assert reference.inserted(page, reference.pages()[file]) == page, "run make docs"


def test_the_schema_holds_what_the_code_says_today():
    assert FILE.read_text() == reference.schema_text(), "run make docs"


def test_what_people_wrote_around_the_tables_stays():
    page = f"before\n{reference.FROM}\nold\n{reference.TO}\nafter\n"
    assert reference.inserted(page, "new") == f"before\n{reference.FROM}\n\nnew\n\n{reference.TO}\nafter\n"
    with pytest.raises(ValueError, match="lacks"):
        reference.inserted("no marks", "new")


@dataclass
class Shape:
    sides: int = 3
    """Number of sides."""


@dataclass
class Square(Shape):
    sides: int = 4
    colours: list[str] = field(default_factory=list)
    """Colours of the corners."""


@dataclass
class Silent:
    sides: int = 3


def test_a_key_has_its_own_sentence_or_that_of_the_class_before():
    assert [reference.key_row(key) for key in keys_of(Square, "square.")] == [
        ("`square.sides`", "`4`", "Number of sides."),
        ("`square.colours`", "none", "Colours of the corners."),
    ]


def test_a_key_without_a_sentence_is_an_error():
    with pytest.raises(ValueError, match="Silent has no sentence under sides"):
        keys_of(Silent)


def test_a_name_in_brackets_is_not_taken_for_a_tag():
    assert reference.plain("runs/<name> and `<path>` | x") == "runs/&lt;name> and `<path>` \\| x"


def test_the_citation_says_what_the_package_says():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (str(cited["version"]), cited["license"]) == (project["version"], project["license"])
    assert cited["cff-version"] == "1.2.0" and {"message", "title", "authors"} <= cited.keys()
    (paper,) = cited["references"]
    assert {"type", "title", "authors"} <= paper.keys() and "2604.10688" in paper["url"]
