"""A page of one file: what it takes from texts, and what it lets run."""

import base64
import hashlib
import json
import re

from scope_openrlhf.pages.page import CLIPPED, clip, write_page


def written(tmp_path, data) -> str:
    for suffix, text in (("html", "<header></header>"), ("css", "p {}"), ("js", '"use strict";')):
        (tmp_path / f"own.{suffix}").write_text(text)
    write_page(tmp_path / "page.html", "<b>", tmp_path / "own.html", data)
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_policy_names_every_script_and_no_other(tmp_path):
    page = written(tmp_path, {})
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts]
    assert len(scripts) == 4 and f"script-src {' '.join(hashes)};" in page and "default-src 'none'" in page


def test_data_cannot_leave_their_place_and_a_title_is_text(tmp_path):
    page = written(tmp_path, ["</script><script>alert(1)</script><!--", "@@BODY@@"])
    assert "alert(1)</script>" not in page and "<title>&lt;b&gt;</title>" in page and "\\u003c!--" in page
    assert json.loads(page.partition('id="data">')[2].partition("</script>")[0])[1] == "@@BODY@@"


def test_every_text_can_be_written_and_half_a_surrogate_pair_too(tmp_path):
    texts = ["数学 é 🙂", "half \ud835", "\x00\u2028"]
    page = written(tmp_path, texts)
    assert "数学 é 🙂" in page and json.loads(page.partition('id="data">')[2].partition("</script>")[0]) == texts


def test_a_long_text_keeps_both_ends():
    assert clip("a" * CLIPPED) == "a" * CLIPPED
    assert clip("a" * 3_000 + "b" * 3_000) == "a" * 1_000 + "\n\n[... 2000 characters left out ...]\n\n" + "b" * 3_000
    assert clip("a" * 100 + "b" * 100, 40) == "a" * 10 + "\n\n[... 160 characters left out ...]\n\n" + "b" * 30
