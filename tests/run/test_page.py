"""The page of a run: what is in it, what it costs, and that no text of a model can run."""

import json
import time

import pytest

from scope_openrlhf.files.disk import append_rows
from scope_openrlhf.run import cli, page
from scope_openrlhf.run.charts import charts_of
from scope_openrlhf.run.page import MOST_POINTS, MOST_STEPS, RunPage, note_fault, spread, thinned

HOSTILE = r"</script><script>window.ran = 1</script><img src=x onerror='window.ran = 2'> $\frac{1}{2}$"


def metrics(step: int, of: int) -> dict:
    names = ("reward", "ppl_student_right", "ppl_student_right_p10", "ppl_student_right_p90", "loss_student", "mystery")
    row = {"step": step, "of": of, "right": 3.0, "wrong": 5.0, "truncated": 1.0} | dict.fromkeys(names, step / of)
    return row | {"ppl_teacher_wrong": None, "seconds": {"generate": 1.0, "total": 2.0}}


def rollout(step: int, i: int, text: str = HOSTILE) -> dict:
    route = "wrong" if i % 2 else "right"
    numbers = {"group": 0, "path": "teacher", "weight": 1.0 + i, "why": ["most weight on teacher"], "length": 3}
    by_token = {"tokens": ["a", HOSTILE, "\n"], "student": [-0.1, -2.0, 0.0], "teacher": [-0.2, -9.0, 0.0]}
    row = {
        "step": step,
        "id": f"<b>{i}</b>",
        "prompt": HOSTILE,
        "answer": r"\sqrt{2}",
        "response": text,
        "route": route,
    }
    more = {"truncated": i == 3, "scored_by": "teacher", "head": 3, "token_weight": [1.0, -7.0, 0.0]}
    return row | numbers | by_token | more


def problem(i: int) -> dict:
    return {"id": f"p{i}", "problem": HOSTILE, "answer": "2", "stratum": "all", "before": 0.0, "after": i / 4}


def make_run(folder, name: str, steps: int = 3, rollouts: int = 4, text: str = HOSTILE):
    """The folder of a run as training leaves it."""
    run = folder / name
    (run / "eval" / "before").mkdir(parents=True)
    (run / "config.yaml").write_text(json.dumps({"name": name, "steps": steps, "algorithm": {"name": "scope"}}))
    append_rows(run / "metrics.jsonl", [metrics(s, steps) for s in range(1, steps + 1)])
    rows = [rollout(s, i, text) for s in range(1, steps + 1) for i in range(rollouts)]
    append_rows(run / "rollouts.jsonl", rows)
    of = {"avg": 0.5, "pass": 0.75, "stderr_avg": 0.1, "stderr_pass": 0.1}
    d = {"avg": 0.1, "pass": 0.2, "stderr": 0.1, "stderr_pass": 0.1, "ci": [0.0, 0.2], "pass_ci": [None, None]}
    pair = {"n": 4, "k": 4, "before": of, "after": of, "difference": d, "problems": [problem(i) for i in range(4)]}
    (run / "eval" / "pair.json").write_text(json.dumps(pair))
    (run / "eval" / "before" / "report.html").write_text("")
    note_fault(run, f"an engine died {HOSTILE}")
    return run


def data_of(file) -> dict:
    return json.loads(file.read_text().partition('id="data">')[2].partition("</script>")[0])


def test_metrics_that_belong_together_share_a_chart_and_say_what_they_mean():
    keys = ["step", "of", *metrics(1, 2), "seconds.total", "loss_teacher", "gap_right"]
    charts = {c["title"]: c for c in charts_of(keys, ("student", "teacher"), ())}
    assert [line["name"] for line in charts["loss"]["lines"]] == ["student", "teacher"]
    (line,) = charts["ppl_student"]["lines"]
    assert (line["name"], line["band"]) == ("right", ["ppl_student_right_p10", "ppl_student_right_p90"])
    assert line["about"].startswith("Perplexity of a rollout by the student") and "Taken: mean over" in line["about"]
    assert [line["name"] for line in charts["rollouts by verdict"]["lines"]] == ["right", "wrong", "truncated"]
    assert "step" not in charts and charts["mystery"]["lines"][0]["about"] == "The code does not define it."
    firsts = [c["first"] for c in charts.values()]
    assert firsts == sorted(firsts, reverse=True)


def test_a_curve_of_many_steps_is_one_of_means_and_keeps_holes():
    rows = [{"step": s, "x": float(s), "y": None} for s in range(1, 6)]
    thin = thinned(rows, 3)
    assert (thin["steps"], thin["each"]) == ([2, 4, 5], 2)
    assert thin["values"]["x"] == [1.5, 3.5, 5.0] and thin["values"]["y"] == [None, None, None]
    assert thinned(rows, 5)["each"] == 1 and thinned([], 5)["steps"] == []


def test_of_many_steps_the_first_the_last_and_some_between_are_shown():
    assert spread(list(range(1, 11)), 4) == [1, 4, 7, 10] and spread([1, 2], 4) == [1, 2]


def test_the_page_holds_the_run_and_grows_with_it(tmp_path):
    run = make_run(tmp_path, "r")
    written = RunPage(run)
    written.write()
    (of,) = data_of(run / "report.html")["runs"]
    assert (of["step"], of["of"], of["algorithm"], of["seconds"], of["of_faults"]) == (3, 3, "scope", 2.0, 1)
    assert len(of["rollouts"]) == 12 and of["faults"][0]["step"] == 3
    assert of["reports"] == [["before", "eval/before/report.html"]]
    append_rows(run / "metrics.jsonl", [metrics(4, 4)])
    append_rows(run / "rollouts.jsonl", [rollout(4, 0)])
    written.refresh()  # a moment later: not yet
    assert data_of(run / "report.html")["runs"][0]["step"] == 3
    written.write()
    (of,) = data_of(run / "report.html")["runs"]
    assert of["step"] == 4 and len(of["rollouts"]) == 13 and not (run / "report.html.new").exists()


def test_a_page_that_cannot_be_written_stops_nothing(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(page, "write_page", full)
    RunPage(make_run(tmp_path, "r")).write()
    assert "No space left on device" in capsys.readouterr().err


def test_a_thousand_steps_cost_little(tmp_path):
    run = make_run(tmp_path, "r", steps=1_000, rollouts=12, text="long " * 4_000)
    written = RunPage(run)
    written.write()
    began = time.perf_counter()
    written.write()
    assert time.perf_counter() - began < 2 and (run / "report.html").stat().st_size < 6_000_000
    (of,) = data_of(run / "report.html")["runs"]
    assert len(of["curves"]["steps"]) <= MOST_POINTS and len({r["step"] for r in of["rollouts"]}) == MOST_STEPS


def test_the_command_writes_one_run_or_several_and_refuses_what_is_none(tmp_path, capsys):
    a, b = make_run(tmp_path, "a"), make_run(tmp_path, "b")
    assert cli.main(["page", str(a)]) == 0 and (a / "report.html").exists()
    assert cli.main(["page", str(a), str(b), "--out", str(tmp_path / "both.html")]) == 0
    runs = data_of(tmp_path / "both.html")["runs"]
    assert [run["name"] for run in runs] == ["a", "b"]
    assert runs[1]["reports"] == [["before", "b/eval/before/report.html"]]  # from where that page lies
    assert cli.main(["page", str(a), str(b)]) == 0 and (a / "overlay.html").exists()
    assert cli.main(["page", str(tmp_path)]) == 2 and "is no run of ours" in capsys.readouterr().err


@pytest.fixture(scope="module")
def opened(tmp_path_factory, browser):
    """A browser that has the page of two runs open, whose texts try to run as script."""
    folder = tmp_path_factory.mktemp("pages")
    runs = [make_run(folder, name) for name in ("a", "b<i>")]
    file = page.write_pages(runs, folder / "both.html")
    browser.get_log("browser")  # of the pages before, whose texts were stopped
    browser.get(f"file://{file}")
    return browser


def test_texts_cannot_run_as_script_and_nothing_is_fetched(opened):
    assert opened.execute_script("return window.ran") is None
    assert opened.execute_script("return document.querySelectorAll('main img, main b, main i').length") == 0
    assert opened.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert [e["message"] for e in opened.get_log("browser") if e["level"] == "SEVERE"] == []


def test_it_shows_curves_faults_problems_and_rollouts_by_token(opened):
    def texts(selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
        return opened.execute_script(script, selector)

    assert "reward" in texts("#first h3") and "mystery" in texts("#others h3")
    assert texts("#first figure:nth-of-type(2) .legend span span") == ["a", "b<i>"]
    assert any("an engine died" in text for text in texts("#faults .warning"))
    assert any(text.startswith("a: truncated: about 3 rollouts") for text in texts("#faults p"))
    assert texts("#scores h3")[0] == "a: 4 held-out problems, 4 samples each"
    assert len(texts("#scores circle")) == 8 and len(texts("#list button")) == 4
    assert texts(".tokens span") == ["a", HOSTILE, "\n"] and len(texts("#rollout .prompt math")) == 1
    title = opened.execute_script("return document.querySelectorAll('.tokens span')[1].title")
    assert title == "student -2\nteacher -9\ngap 7\nweight -7"
    opened.execute_script("const w = $('which'); w.value = 'heaviest'; w.dispatchEvent(new Event('change'))")
    assert [text.rpartition(" ")[2] for text in texts("#list button")] == ["4", "3", "2", "1"]
    opened.execute_script("document.getElementById('maths').click()")
    assert texts("#rollout .prompt") == [HOSTILE]


def test_the_pointer_is_told_what_lies_there_and_a_telephone_needs_no_sideways_scrolling(opened):
    told = opened.execute_script(
        "const svg = document.querySelectorAll('#first figure > svg')[1], box = svg.getBoundingClientRect(); "
        "const where = { clientX: box.right - 20, clientY: box.top + 40, bubbles: true }; "
        "svg.dispatchEvent(new PointerEvent('pointermove', where)); "
        "const tip = svg.parentElement.querySelector('.tip'), at = tip.getBoundingClientRect(); "
        "return [tip.textContent, at.top >= box.top && at.bottom <= box.bottom && at.right <= innerWidth]"
    )
    assert told == ["step 3\na  1\nb<i>  1", True]
    opened.execute_script("document.querySelectorAll('svg').forEach((e) => e.dispatchEvent(new Event('pointerleave')))")
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert opened.execute_script("return document.documentElement.scrollWidth") == 390
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
