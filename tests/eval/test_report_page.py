"""The page in a real browser, with the network cut off by the page's own policy."""

import json
import re

import pytest
from stores import ABOUT

from scope_eval import report
from scope_eval.evaluate import write_results
from scope_eval.excerpts import Room
from scope_eval.store import Grade, Sample, Store

HOSTILE = r"</script><script>window.ran = 1</script><img src=x onerror='window.ran = 2'> \boxed{<b>7</b>}"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of three problems with two samples, whose texts try to run as script."""
    folder = tmp_path_factory.mktemp("report")
    store = Store(folder / "samples.sqlite")
    settings = {"temperature": 0.6, "seed": 1, "example_prompt": HOSTILE}
    for name in ("aime24", "tiny"):
        rows = [{"id": f"{name}-{i}", "problem": f"What is {i}+1? {HOSTILE}", "answer": str(i + 1)} for i in range(3)]
        about = ABOUT | {
            "model": HOSTILE,
            "notes": [HOSTILE],
            "data": {"from": "file", "of": 9 if name == "tiny" else 3},
        }
        number = store.begin(name, {"files": "x"}, "d", settings, rows, about)
        for i, row in enumerate(rows):
            store.add(
                (number, Sample(row["id"], n, f"sample {n} of {row['id']} {HOSTILE}", 10 + n, "stop", n, "0"))
                for n in range(2)
            )
            verdicts = [Grade("right", HOSTILE, HOSTILE, 0)] * min(i, 2) + [
                Grade("wrong", "<i>9</i>", "different", 1)
            ] * (2 - min(i, 2))
            store.put_grades(number, {row["id"]: verdicts})
        store.finish(number, 3, 2, {"math-verify": "0"})
    write_results(store, folder)
    return folder


def test_the_page_opens_filters_searches_and_shows_a_sample(page, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.select import Select

    browser.get(f"file://{page}/report.html")

    def problems() -> list[str]:
        return [b.get_attribute("data-id") for b in browser.find_elements(By.CSS_SELECTOR, "#problems button")]

    assert problems() == ["aime24-0", "aime24-1", "aime24-2"]
    cells = [c.text for c in browser.find_elements(By.CSS_SELECTOR, "#scores tbody td")]
    assert (
        "aime24" in cells
        and "published: SCOPE 1.5B" in " ".join(cells)
        and "mean of six, published: KD 1.7B" in cells
        and "77.9" in cells
        and cells[3].startswith("50.00")
    )
    assert (
        len(browser.find_elements(By.CSS_SELECTOR, "figure > svg")) == 6
        and len(browser.find_elements(By.CSS_SELECTOR, ".cell")) == 6
    )
    Select(browser.find_element(By.ID, "benchmark")).select_by_value("tiny")
    assert problems() == ["tiny-0", "tiny-1", "tiny-2"]
    for which, left in (
        ("never", ["tiny-0"]),
        ("sometimes", ["tiny-1"]),
        ("always", ["tiny-2"]),
        ("failed", []),
        ("all", ["tiny-0", "tiny-1", "tiny-2"]),
    ):
        Select(browser.find_element(By.ID, "which")).select_by_value(which)
        assert problems() == left
    browser.find_element(By.ID, "search").send_keys("Sample 1 of TINY-1")
    assert problems() == ["tiny-1"] and browser.find_element(By.ID, "count").text == "1 of 3 problems"
    assert browser.find_element(By.CSS_SELECTOR, ".gold").text == "gold: 2"
    assert [e.text for e in browser.find_elements(By.CSS_SELECTOR, "#problem td:nth-child(3)")] == ["right", "wrong"]
    browser.find_element(By.CSS_SELECTOR, "[data-sample='1']").click()
    assert browser.find_element(By.CSS_SELECTOR, ".response").text == f"sample 1 of tiny-1 {HOSTILE}"
    assert "first 3 of 9" in cells[cells.index("tiny") + 1]
    browser.find_elements(By.CSS_SELECTOR, ".cell")[0].click()  # of the first benchmark, its best problem
    assert browser.find_element(By.CSS_SELECTOR, "#problem h3").text == "aime24-2"


def test_the_address_names_the_problem_and_arrow_keys_go_through_the_list(page, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser.get("about:blank")
    browser.get(f"file://{page}/report.html#tiny/tiny-1")
    assert browser.find_element(By.CSS_SELECTOR, "#problem h3").text == "tiny-1"
    browser.find_element(By.CSS_SELECTOR, "#problems [aria-current]").send_keys(Keys.ARROW_DOWN)
    assert browser.find_element(By.CSS_SELECTOR, "#problem h3").text == "tiny-2"
    assert browser.switch_to.active_element.get_attribute("data-id") == "tiny-2"
    assert browser.current_url.endswith("#tiny/tiny-2")
    browser.get("about:blank")
    browser.get(f"file://{page}/report.html#nothing/%E0%A4%A")  # no address of ours: the page opens all the same
    assert browser.find_element(By.CSS_SELECTOR, "#problem h3").text == "aime24-0"


def test_texts_of_models_cannot_run_as_script_and_nothing_is_fetched(page, browser):
    browser.get(f"file://{page}/report.html")
    assert browser.execute_script("return window.ran") is None
    assert browser.execute_script("return document.querySelectorAll('main img, main b, main i').length") == 0
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    errors = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert errors == []
    # the page's policy refuses a script that somebody got into it all the same
    assert not browser.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.ran = 3'; document.body.append(s); "
        "return window.ran === 3"
    )


def test_the_page_names_no_other_place(page):
    text = (page / "report.html").read_text()
    beside_the_data = re.sub(r'(?s)<script type="application/json".*?</script>', "", text)
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//|import\(""", beside_the_data)
    assert "<script>window.ran" not in text and text.count("</script>") == 5
    assert json.loads(text.partition('id="data">')[2].partition("</script>")[0])["summary"]["model"] == HOSTILE


def test_a_page_holds_whole_responses_or_some_of_each_verdict_clipped(page):
    store = Store(page / "samples.sqlite")
    (graded,) = [report.Graded(store, b) for b in store.benchmarks() if b["name"] == "tiny"]
    whole, cut = (report.problems_of(graded, store, Room(*of)) for of in ((None, None), (1, 40)))
    assert all(s[-1].startswith("sample") and s[-1].endswith("}") for p in whole for s in p["samples"])
    assert [[s[-1] is not None for s in p["samples"]] for p in cut] == [[True, False]] * 3
    assert "characters left out" in cut[0]["samples"][0][-1]


def test_published_figures_agree_with_each_other():
    published = report.published_beside(["aime24", "aime25", "amc23", "math500", "minerva", "olympiad"])
    scope, opd = (published[f"{name} 1.5B"]["benchmarks"] for name in ("SCOPE", "OPD"))
    # "vs OPD" in SCOPE's README, in percent of OPD's figure
    gains = {"aime24": 6.22, "aime25": 5.19, "amc23": 6.59, "math500": 0.90, "minerva": 8.31, "olympiad": 10.69}
    for name, gain in gains.items():
        assert scope[name]["avg"] / opd[name]["avg"] == pytest.approx(1 + gain / 100, abs=2e-3)
    for said in (scope, opd):
        assert sum(said[name]["avg"] for name in gains) / 6 == pytest.approx(said["mean of six"]["avg"], abs=0.06)
    assert sum(scope[name]["best_with_replacement"] for name in gains) / 6 == pytest.approx(75.0, abs=0.06)


def test_what_is_published_stands_beside_the_benchmarks_that_it_is_of():
    assert report.published_beside(["tiny"]) == {}
    beside = {title: p["benchmarks"] for title, p in report.published_beside(["aime25", "tiny"]).items()}
    assert beside["SCOPE 1.5B without weights"] == {"aime25": {"best_with_replacement": 45.7}}
    assert beside["GRPO 1.7B"] == {"mean of six": {"avg": 26.5, "best_with_replacement": 50.4}}
    assert "SCOPE 1.5B without student weights" not in beside and len(beside) == 11


def test_markdown_and_terminal_say_the_published_figures_and_the_other_count_of_problems(page):
    text = (page / "report.md").read_text()
    assert "with teacher weights reversed (arXiv 2604.10688v2, ablations): aime24 Avg@32 38.6." in text
    assert "mean of six Avg@32 19.0, best@32 with replacement 49.2." in text
    assert "aime24 Avg@32 42.7, best@32 with replacement 77.9" in text and "| aime24 | 3 | 2 | 50.00 [" in text
    results = json.loads((page / "results.json").read_text())
    assert list(results["benchmarks"]) == ["aime24", "tiny"] and set(results["benchmarks"]["tiny"]["pass"]) == {
        "1",
        "2",
    }
    assert {
        "problems",
        "samples",
        "avg",
        "avg_ci",
        "pass",
        "pass_ci",
        "maj",
        "best_with_replacement",
        "truncated",
        "repeating",
        "no_box",
        "failed",
    } <= set(results["benchmarks"]["tiny"])
    assert "aime24" in report.terminal_table(results)


FORMULAS = r"Let $x^2$, \[y_1\] and $\frac{1}{$; it costs $5 or $6. \(\href{javascript:window.ran=4}{z}\)"


def test_formulas_are_typeset_and_what_cannot_be_is_shown_as_it_stands(page, browser):
    browser.get(f"file://{page}/report.html")
    shown = browser.execute_script(
        "const place = document.createElement('p'); document.body.append(place); say(place, arguments[0]); "
        "return [place.querySelectorAll('math').length, place.querySelectorAll('a').length, "
        "[...place.querySelectorAll('.untypeset')].map((e) => e.textContent), place.textContent.includes('$5 or $6')]",
        FORMULAS,
    )
    # KaTeX refuses the address and says so in the formula's place
    assert shown == [3, 0, [r"$\frac{1}{$"], True]


def test_a_hostile_text_cannot_hold_the_page_up(page, browser):
    browser.get(f"file://{page}/report.html")
    for text in ("$x$ " * 100_000, "\\[" * 100_000, "$" * 100_000, "\\(\\def\\a{\\a\\a}\\a\\) " * 1_000):
        took = browser.execute_script(
            "const began = performance.now(); say(document.createElement('p'), arguments[0]); "
            "return performance.now() - began",
            text,
        )
        assert took < 3_000, text[:20]


def test_the_page_follows_the_systems_theme_and_its_own_switch(page, browser):
    def paper() -> str:
        return browser.execute_script("return getComputedStyle(document.body).backgroundColor")

    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.get(f"file://{page}/report.html")
    light = paper()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    assert paper() != light
    browser.execute_script("document.getElementById('theme').click()")
    assert paper() == light
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_telephone_needs_no_sideways_scrolling(page, browser):
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(f"file://{page}/report.html")
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
