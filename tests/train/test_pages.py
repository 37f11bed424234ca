"""Pages of reports hold no markup and no control codes of labels or file names."""

from pathlib import Path

from dermedge.train.pages import render


def test_a_label_is_text_whatever_it_holds(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>{{ label }}</p>\n", encoding="utf-8")
    label = "<img src=x onerror=alert(1)>\x1b[2J\x9b31m\x00 naevus bleu\u00a0黑"
    page = render("page.html", templates=tmp_path, label=label)
    assert page == "<p>&lt;img src=x onerror=alert(1)&gt;\\x1b[2J\\x9b31m\\x00 naevus bleu\u00a0黑</p>"
