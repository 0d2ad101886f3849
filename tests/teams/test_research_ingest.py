"""Every citation opens: the quote stands, character for character, at the lines and the span that a note names.

Files that cannot be read are skipped with a reason, and nothing outside the sources is touched.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moot.teams.research.sources.index import PassageIndex
from moot.teams.research.sources.ingest import MAX_BYTES, SourceError, check_sources, read_bytes, read_sources
from moot.teams.research.values import Document, SkippedFile

MARKDOWN = """---
title: front matter is no text
---
# Lakes

The lake covers 48 square
kilometres, e.g. at high water. It is 254 metres deep.

## Boats

- Rowing boats are allowed. Motor boats are not.
- `max_speed`
  limits them to 8 knots.

| Boat | Places |
|------|--------|
| ferry | 120 |

```
$ sail --north
```
"""

HTML = """<html><head><title>The manual</title><script>var hidden = 1;</script></head><body>
<nav>Home Next Previous</nav>
<h1>Limits</h1><p>A table has at most <b>1600</b> columns. Rows are
not limited.</p><dl><dt>-v</dt><dd>Prints the version and exits.</dd></dl>
<pre>set limit = 5</pre><table><tr><td>port</td><td>5432</td></tr></table><footer>Copyright</footer></body></html>"""


def _collapsed(text: str) -> str:
    return " ".join(text.split())


def _check_spans(document: Document) -> None:
    lines = document.text.split("\n")
    for passage in document.passages:
        for sentence in passage.sentences:
            assert _collapsed(document.text[sentence.start : sentence.end]) == sentence.text
            block = _collapsed("\n".join(lines[sentence.line - 1 : sentence.end_line]))
            assert sentence.text in block


def _sentences(document: Document) -> list[str]:
    return [sentence.text for passage in document.passages for sentence in passage.sentences]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "# Head", "## Sub head", "Title\n=====", "", "A plain sentence here. Another follows, e.g. this one!",
                "- an item of a list.", "1. first", "   indented text", "```", "    code()", "| a | b |", "|---|---|",
                "> quoted words stand here.", "short", "Ünïcode ‘quotes’ — dash. Ωmega follows.", "x" * 700, "\r",
                "NAME", "+", "a\tb\u00a0c. D", "She paid 3.50. He paid No. 5 and left?  Yes.",
            ]
        ),
        max_size=30,
    ),
    st.sampled_from(["a.md", "a.txt"]),
)  # fmt: skip
def test_every_sentence_stands_verbatim_at_its_span_and_lines(lines: list[str], name: str) -> None:
    raw = "\n".join([*lines, "The last sentence is here."]).encode()

    document, _ = read_bytes(name, raw)

    _check_spans(document)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "<h1>A</h1>", "<h3>B c</h3>", "<p>One. Two &amp; three.</p>", "<ul><li>x y z<li>b</ul>",
                "<pre>a\n  b</pre>",
                "<div>loose <i>text</i>", "</div>", "<table><tr><td>1<td>2</table>", "<p>", "a &lt; b",
                "<br>", "<!-- c -->",
            ]
        ),
        max_size=20,
    )
)  # fmt: skip
def test_html_quotes_stand_verbatim_in_the_extracted_text(pieces: list[str]) -> None:
    document, _ = read_bytes("a.html", "".join([*pieces, "<p>The end is here.</p>"]).encode())

    _check_spans(document)


def test_markdown_is_cut_at_headings_items_rows_and_listings() -> None:
    document, _ = read_bytes("lakes.md", MARKDOWN.encode())

    assert document.title == "Lakes"
    assert _sentences(document) == [
        "The lake covers 48 square kilometres, e.g. at high water.",
        "It is 254 metres deep.",
        "Rowing boats are allowed.",
        "Motor boats are not.",
        "`max_speed` limits them to 8 knots.",
        "| Boat | Places |",
        "| ferry | 120 |",
        "$ sail --north",
    ]
    assert [passage.headings for passage in document.passages] == [("Lakes",), ("Lakes", "Boats")]
    deep = document.passages[0].sentences[1]
    assert (deep.line, deep.end_line) == (7, 7)


def test_html_leaves_out_what_no_reader_reads() -> None:
    document, _ = read_bytes("manual.html", HTML.encode())

    assert document.title == "The manual"
    assert _sentences(document) == [
        "A table has at most 1600 columns.",
        "Rows are not limited.",
        "-v Prints the version and exits.",
        "set limit = 5 port | 5432",
    ]


def test_a_long_section_becomes_passages_of_at_most_180_words() -> None:
    text = "# Long\n\n" + " ".join(f"Sentence number {number} has seven words here." for number in range(100))

    document, _ = read_bytes("long.md", text.encode())

    assert len(document.passages) > 3
    assert all(len(passage.text.split()) <= 180 for passage in document.passages)


def test_a_passage_keeps_its_id_when_the_file_is_read_again() -> None:
    first, _ = read_bytes("a.md", MARKDOWN.encode())
    second, _ = read_bytes("elsewhere/b.md", MARKDOWN.encode())

    assert [passage.id for passage in first.passages] == [passage.id for passage in second.passages]


@pytest.mark.parametrize(
    ("name", "raw", "reason"),
    [
        ("empty.md", b"", "empty"),
        ("blank.txt", b" \n\t\n", "empty"),
        ("image.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary"),
        ("control.txt", bytes(range(1, 30)) * 40, "binary"),
        ("broken.pdf", b"%PDF-1.7 nothing more", "PDF"),
        ("script.html", b"<script>only()</script>", "no text in it"),
        ("program.py", b"print()", "unsupported type .py"),
        ("packed.gz", b"\x1f\x8b", "unsupported type .gz"),
    ],
)
def test_what_cannot_be_read_is_skipped_with_its_reason(tmp_path: Path, name: str, raw: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(raw)

    (found,) = read_sources([tmp_path])

    assert isinstance(found, SkippedFile)
    assert reason in found.reason


def test_a_file_that_is_too_big_is_skipped(tmp_path: Path) -> None:
    with (tmp_path / "big.txt").open("wb") as file:
        file.truncate(MAX_BYTES + 1)

    (found,) = read_sources([tmp_path])

    assert isinstance(found, SkippedFile)
    assert "too big" in found.reason


@pytest.mark.parametrize(
    ("raw", "expected", "remark"),
    [
        ("Grüße aus Köln.".encode(), "Grüße aus Köln.", ""),
        ("\ufeffGrüße aus Köln.".encode(), "Grüße aus Köln.", ""),
        ("Grüße aus Köln.".encode("utf-16"), "Grüße aus Köln.", "decoded as utf-16"),
        ("Grüße aus Köln.".encode("latin-1"), "Grüße aus Köln.", "decoded as cp1252"),
    ],
)
def test_encodings_are_recognised_and_remarked_upon(raw: bytes, expected: str, remark: str) -> None:
    document, said = read_bytes("a.txt", raw)

    assert _sentences(document) == [expected]
    assert said == remark


def test_links_that_lead_back_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A\n\nThe only file.", encoding="utf-8")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "broken.md").symlink_to(tmp_path / "nowhere.md")

    found = list(read_sources([tmp_path, tmp_path / "a.md"]))

    assert sum(isinstance(item, tuple) for item in found) == 1
    assert [item.reason for item in found if isinstance(item, SkippedFile)] == ["broken or circular link"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("Nobody reads this.", encoding="utf-8")
    (tmp_path / "secret.md").chmod(0)

    (found,) = read_sources([tmp_path])

    assert isinstance(found, SkippedFile)
    assert "cannot be read" in found.reason


def test_a_named_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")

    (found,) = read_sources([tmp_path])

    assert found == SkippedFile(str(tmp_path / "pipe.txt"), "not a regular file")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", "# " + "[" * 200_000),
        ("a.md", "|" + "[" * 200_000 + "|"),
        ("a.md", "# x" + " " * 200_000 + "y"),
        ("a.txt", "![" * 100_000),
        ("a.txt", "." * 200_000),
        ("a.md", "- " * 100_000),
        ("a.html", "<div>" * 20_000 + "deep"),
        ("a.html", "<table><tr><td>" + "[(" * 100_000),
    ],
)
def test_a_hostile_file_is_read_in_linear_time(name: str, text: str) -> None:
    document, _ = read_bytes(name, f"{text}\n<p>\n\nThe end is here.\n".encode())
    index = PassageIndex()
    index.add(document)

    _check_spans(document)
    index.close()


def test_a_missing_source_is_an_error() -> None:
    with pytest.raises(SourceError, match="no such file or folder: nowhere"):
        list(read_sources(["nowhere"]))


def test_a_pdf_is_read_page_by_page(tmp_path: Path) -> None:
    pytest.importorskip("pypdf")
    document, _ = read_bytes("two.pdf", _pdf("The first page speaks of lakes.", "The second page speaks of boats."))

    assert [passage.headings for passage in document.passages] == [("page 1",), ("page 2",)]
    assert _sentences(document) == ["The first page speaks of lakes.", "The second page speaks of boats."]
    _check_spans(document)


def _pdf(*pages: str) -> bytes:
    """A small PDF, written by hand: objects, a page each with one line of text, and the cross-reference table."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    out = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    start = len(out)
    trailer = f"<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF"
    return out + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n{trailer}".encode()


def test_a_table_row_is_not_joined_to_the_paragraph_after_it() -> None:
    page = (
        b"<html><body><table><tr><td>Weight</td><td>12 kg</td></tr></table>"
        b"<p>The pump needs oil every 40 hours.</p></body></html>"
    )

    document, _ = read_bytes("pump.html", page)
    quotes = [sentence.text for passage in document.passages for sentence in passage.sentences]

    assert quotes == ["Weight | 12 kg", "The pump needs oil every 40 hours."]


def test_sources_are_checked_before_a_team_waits_for_questions(tmp_path: Path) -> None:
    (tmp_path / "empty.md").write_bytes(b"")
    with pytest.raises(SourceError, match="nothing to read"):
        check_sources([tmp_path])

    (tmp_path / "full.md").write_text("The pump needs oil.", encoding="utf-8")
    check_sources([tmp_path])
