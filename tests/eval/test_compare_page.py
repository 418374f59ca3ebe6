"""The page of a comparison in a real browser, and what is in it."""

import json
import random

import pytest
from stores import ABOUT

from scope_eval import commands
from scope_eval.compare import told_apart
from scope_eval.compare_page import mark, of_problem
from scope_eval.excerpts import CLIPPED, FEWEST, Room, chosen, room
from scope_eval.store import Grade, Sample, Store

HOSTILE = r"</script><script>window.ran = 1</script><img src=x onerror='window.ran = 2'> $\frac{1}{2}$"
GRADES = {
    "r": Grade("right", "1", "same", 0),
    "w": Grade("wrong", HOSTILE, "different", 1),
    "n": Grade("wrong", None, "no box", None),
}
LOOP = "again and again " * 40


def evaluated(folder, right: dict[str, str], name: str = "tiny") -> None:
    """The folder of an evaluation. right: for each problem one letter a sample, as in GRADES; t: right, truncated."""
    folder.mkdir(exist_ok=True)
    store = Store(folder / "samples.sqlite")
    rows = [{"id": item, "problem": f"{item}? {HOSTILE}", "answer": "1", "stratum": item[:1]} for item in right]
    about = ABOUT | {"model": f"model of {folder.name} <b>", "data": {"from": "file", "of": 9}}
    number = store.begin(name, {"files": folder.name}, "d", {"temperature": 0.6, "seed": 1}, rows, about)
    store.db.execute("PRAGMA synchronous=OFF")  # made up in a moment
    for item, letters in right.items():
        for i, letter in enumerate(letters):
            text = LOOP if letter == "t" else f"{folder.name} {i} on {item} {HOSTILE}"
            store.add([(number, Sample(item, i, text, 10 + i, "length" if letter == "t" else "stop", i, "0"))])
        store.put_grades(number, {item: [GRADES["r" if letter == "t" else letter] for letter in letters]})
    store.finish(number, len(rows), len(next(iter(right.values()))), {"math-verify": "0"})
    store.close()


BEFORE = {"won": "wwww", "lost": "rrrw", "same": "rrww", "never": "wwnt", "little": "rwww", "<i>": "wwww"}
AFTER = {"won": "rrrr", "lost": "wwww", "same": "wrrw", "never": "nwww", "little": "rrww", "<i>": "wwww"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("compare")
    evaluated(place / "a", BEFORE)
    evaluated(place / "b", AFTER)
    commands.compare_folders(place / "a", place / "b", place / "out")
    return place


def data_of(file) -> dict:
    return json.loads(file.read_text().partition('id="data">')[2].partition("</script>")[0])


def test_the_page_holds_both_models_numbers_by_hand(folder):
    data = data_of(folder / "out" / "compare.html")
    b = data["benchmarks"]["tiny"]
    assert (b["n"], b["k"], b["of"], b["samples"]) == (6, 4, [9, 9], [4, 4])
    # 0 + 3 + 2 + 0 + 1 + 0 and 4 + 0 + 2 + 0 + 2 + 0 of 24 are right
    assert b["measures"]["avg"]["before"] == 6 / 24 and b["measures"]["avg"]["after"] == pytest.approx(8 / 24)
    assert b["measures"]["pass"]["before"] == b["measures"]["pass"]["after"] == 3 / 6
    # the most frequent answer is right in lost, and half of same's are: ties are averaged
    assert b["measures"]["maj"]["before"] == 1.5 / 6 and b["measures"]["maj"]["after"] == pytest.approx(2 / 6)
    assert [m["after_is"] for m in b["measures"].values()] == ["not told apart"] * 3
    assert b["shares"][0] == {"truncated": 1 / 24, "repeating": 1 / 24, "no box": 1 / 24, "failed": 0}
    assert [side["name"] for side in data["sides"]] == ["A", "B"]
    never = next(p for p in b["problems"] if p["id"] == "never")["sides"][0]
    assert (never["marks"], never["repeating"], never["answers"]) == ("wwnt", [3], [[HOSTILE, 2, 0]])
    numbers = json.loads((folder / "out" / "compare.json").read_text())["benchmarks"]["tiny"]["measures"]["maj"]
    assert numbers["difference"] == pytest.approx(0.5 / 6) and numbers["ci"][0] < 0 < numbers["ci"][1]


def test_models_are_told_apart_by_the_interval_and_by_the_adjusted_p():
    nan = float("nan")
    assert told_apart(0.1, (0.02, 0.18), 0.01) == "higher" and told_apart(-0.1, (-0.18, -0.02), 0.01) == "lower"
    assert told_apart(0.1, (-0.02, 0.22), 0.01) == told_apart(0.1, (0.02, 0.18), 0.2) == "not told apart"
    assert told_apart(1.0, (nan, nan), 0.0) == "not told apart"  # a single problem


def test_a_truncated_sample_is_marked_as_such_whatever_the_grader_says():
    about = {"verdict": "right", "answer": "1", "class": 0, "tokens": 9}
    assert mark(about | {"finish_reason": "stop"}) == "r" and mark(about | {"finish_reason": "length"}) == "t"
    row = [about | {"finish_reason": "length"}, about | {"finish_reason": "stop", "verdict": "failed", "class": 2}]
    assert of_problem(row, ["x", "y"], Room(None, None))["answers"] == [["1", 1, 0]]  # of the second alone


def test_a_page_has_room_for_some_of_each_verdict():
    assert room(10, 320, 100_000) == Room(None, None)
    assert room(1_000, 32_000, 32_000_000) == Room(6, CLIPPED)  # 6 x 1,000 x 1,000 characters
    assert room(3_094, 99_008, 99_008 * 9_000) == Room(FEWEST, 969)  # 2 x 3,094 x 969 < 6,000,000
    assert chosen("wwwrwt", 3) == [0, 3, 5] and chosen("wwwrwt", 4) == [0, 1, 3, 5] and chosen("ww", None) == [0, 1]


def test_other_problems_and_counts_of_samples_than_the_other_model_has_are_left_out(tmp_path):
    evaluated(tmp_path / "a", {"x": "rr", "y": "ww"})
    evaluated(tmp_path / "b", {"y": "rrrw"})
    commands.compare_folders(tmp_path / "a", tmp_path / "b", tmp_path / "out")
    b = data_of(tmp_path / "out" / "compare.html")["benchmarks"]["tiny"]
    assert [p["id"] for p in b["problems"]] == ["y"] and b["samples"] == [2, 4] and b["k"] == 2
    assert b["measures"]["avg"]["ci"] == [None, None]


@pytest.fixture(scope="module")
def opened(folder, browser):
    browser.get_log("browser")  # of the pages before, whose texts were stopped
    browser.get(f"file://{folder}/out/compare.html#tiny/lost")
    return browser


def texts(browser, selector: str) -> list[str]:
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector
    )


def pick(browser, field: str, value: str) -> list[str]:
    """The ids that are listed once a filter has that value."""
    browser.execute_script(
        "const e = $(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event(e.type === 'search' ? 'input' : "
        "'change'))",
        field,
        value,
    )
    return texts(browser, "#problems button > span:first-child")


def test_texts_cannot_run_as_script_and_nothing_is_fetched(opened):
    assert opened.execute_script("return window.ran") is None
    assert opened.execute_script("return document.querySelectorAll('main img, main b, main i, h1 b').length") == 0
    assert opened.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert [e["message"] for e in opened.get_log("browser") if e["level"] == "SEVERE"] == []


def test_the_address_opens_a_problem_and_both_models_responses_stand_side_by_side(opened):
    assert texts(opened, "#problem h3") == ["lost"] and len(texts(opened, "#problem .asked math")) == 1
    assert texts(opened, "#problem h4") == ["A: 3 of 4 right", "B: 0 of 4 right"]
    labels = "return [...document.querySelectorAll('.marks')].map((e) => e.getAttribute('aria-label'))"
    assert opened.execute_script(labels) == ["3 right, 1 wrong", "4 wrong"]
    # a response is put into the page when it is opened: the first of each, at first
    assert [text[:11] for text in texts(opened, "#problem pre.response")] == ["a 0 on lost", "b 0 on lost"]
    opened.execute_script("document.querySelectorAll('#problem details')[1].open = true")
    opened.execute_async_script("setTimeout(arguments[0], 50)")
    assert len(texts(opened, "#problem pre.response")) == 3
    left, right = opened.execute_script(
        "return [...document.querySelectorAll('.sides > section')].map((e) => e.getBoundingClientRect().top)"
    )
    assert left == right


def test_it_filters_sorts_searches_and_lists_the_problems_of_a_dot(opened):
    assert pick(opened, "which", "all") == ["won", "lost", "little", "same", "never", "<i>"]
    for which, left in {
        "won": ["won", "little"],
        "lost": ["lost"],
        "same": ["same", "never", "<i>"],
        "unsolved": ["never", "<i>"],
        "truncated": ["never"],
        "repeating": ["never"],
    }.items():
        assert pick(opened, "which", which) == left
    assert "always" not in texts(opened, "#which option") and "unsolved by both (2)" in texts(opened, "#which option")
    pick(opened, "which", "all")
    assert pick(opened, "search", "B 1 ON LITTLE") == ["little"]
    pick(opened, "search", "")
    opened.execute_script(
        "const dots = [...document.querySelectorAll('.dot')]; "
        "const dot = dots.find((d) => d.lastChild.textContent.startsWith('2 problems')); "
        "dot.dispatchEvent(new MouseEvent('click', { bubbles: true }))"
    )
    assert texts(opened, "#problems button > span:first-child") == ["never", "<i>"]
    assert texts(opened, "#problems button > span:last-child") == ["0/4 → 0/4 ="] * 2


def test_scores_say_in_words_what_they_mean(opened):
    assert texts(opened, "#scores tbody th") == ["tiny: 6 of 9 problems"]
    rows = opened.execute_script(
        "return [...document.querySelectorAll('#scores tbody tr')].map((r) => [...r.cells].map((c) => c.textContent))"
    )
    avg = rows[1]
    assert avg[0] == "Avg@4" and avg[1].startswith("25.00[") and avg[3].startswith("+8.33[")
    assert avg[5].startswith("not told apartp ") and rows[4][:4] == ["truncated", "4.17", "0.00", "-4.17"]


def test_a_telephone_needs_no_sideways_scrolling_and_paper_no_controls(opened):
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert opened.execute_script("return document.documentElement.scrollWidth") == 390
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    seen = "return [...document.querySelectorAll('button, select, .list')].filter((e) => e.offsetParent).length"
    assert opened.execute_script(seen) == 0
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_a_large_difference_is_said_to_be_higher(tmp_path, browser):
    rng = random.Random(1)
    for name, chance in (("a", 0.3), ("b", 0.7)):
        right = {f"p{i}": "".join("r" if rng.random() < chance else "w" for _ in range(4)) for i in range(40)}
        evaluated(tmp_path / name, right)
    commands.compare_folders(tmp_path / "a", tmp_path / "b", tmp_path / "out")
    browser.get(f"file://{tmp_path}/out/compare.html")
    assert texts(browser, "#scores td.said")[0].startswith("higher ▲p 0.0001")
