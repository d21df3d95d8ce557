"""Markdown for the page of a pipeline's run, read by markdown-it."""

from pathlib import Path

from markdown_it import MarkdownIt

from f2at.evidence.findings import of_report
from f2at.evidence.summary import summary, table
from tests.evidence.grey import grey_report

MARKDOWN = MarkdownIt("commonmark").enable("table")


def test_it_says_what_came_out(tmp_path: Path) -> None:
    report = grey_report(tmp_path / "report.json", min_robust_accuracy=0.9)
    html = MARKDOWN.render(summary(of_report(report, tmp_path / "report.json")))
    assert "<h2>Robustness audit: fail</h2>" in html
    assert html.count("<table>") == 2
    assert "<td>12 of 36</td>\n<td>33.3 %</td>\n<td>20.2 % to 49.7 %</td>" in html
    assert "none of 13 raised, 2 not looked for" in html


def test_names_are_shown_as_they_are() -> None:
    """They come from whoever made the model or the request, and are no markup."""
    names = ["a|b", "<script>alert(1)</script>", "[x](y)", "two\nlines", "`code` \\ *"]
    html = MARKDOWN.render(table([["name"], *([name] for name in names)]))
    for shown in ("a|b", "&lt;script&gt;alert(1)&lt;/script&gt;", "[x](y)", "two lines", "`code` \\ *"):
        assert f"<td>{shown}</td>" in html
