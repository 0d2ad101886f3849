r"""How good the research team is on documents that nobody here wrote: Debian's documentation packages.

    apt-get download git-doc sqlite3-doc postgresql-doc-15 debian-handbook apache2-doc ntpsec-doc \
        installation-guide-amd64
    for package in *.deb; do dpkg -x "$package" docs; done
    python benchmarks/research_quality.py docs/usr/share/doc --set held_out

Each question has the strings that its answer must contain. Printed: the share of answerable questions whose answer
is found in the written answer or in the quotes under it; the share of unanswerable ones that are refused, and of
answerable ones that are not; the share of the model's sentences that the checker supports; seconds a question, and
seconds of CPU, which is what a quiet machine with one core would take.
The questions of the set ``tuning`` were looked at while the thresholds were set, those of ``held_out`` were not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moot.engine.base import Engine
from moot.engine.choose import open_engine
from moot.teams.research import Report, ResearchTeam

QUESTIONS = Path(__file__).with_name("research_questions.json")


def main() -> None:
    """Read the arguments, ask every question, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("docs", type=Path, help="a folder with the packages' documentation, as /usr/share/doc")
    parser.add_argument("--set", default="held_out", choices=("tuning", "held_out"))
    parser.add_argument("--engine", default="local", help="as for moot research; none for quotes only")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--depth", default="brief", choices=("brief", "standard"))
    arguments = parser.parse_args()
    asyncio.run(measure(arguments))


async def measure(arguments: argparse.Namespace) -> None:
    """One run over a set."""
    chosen: dict[str, Any] = json.loads(QUESTIONS.read_text(encoding="utf-8"))[arguments.set]
    folders = [arguments.docs / folder for folder in chosen["folders"]]
    missing = [str(folder) for folder in folders if not folder.exists()]
    if missing:
        raise SystemExit(f"not there: {', '.join(missing)}; unpack the packages named in {Path(__file__).name}")
    engine = None if arguments.engine == "none" else open_engine(arguments.engine, threads=arguments.threads)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; engine {arguments.engine}"
    )
    async with ResearchTeam(folders, engine=engine) as team:
        if engine is not None:
            await engine.start()
        began = time.monotonic()
        await team.research("zzz qqq xxx?")
        print(f"indexed in {time.monotonic() - began:.1f} s")
        results = [await _one(team, question, expected, arguments.depth) for question, expected in chosen["answerable"]]
        refused = [await _one(team, question, [], arguments.depth) for question in chosen["unanswerable"]]
    await _close(engine)
    _summary(results, refused)


async def _one(team: ResearchTeam, question: str, expected: Sequence[str], depth: Any) -> dict[str, Any]:
    began = time.process_time()
    report = await team.research(question, depth=depth)
    cpu = time.process_time() - began
    answer = " ".join(claim.text for claim in report.claims)
    quotes = " ".join(note.quote for note in report.notes)
    raw = report.statistics.kept + sum(report.statistics.dropped.values())
    result = {
        "is_refused": report.status == "not_found",
        "in_answer": _has(answer, expected),
        "found": _has(f"{answer} {quotes}", expected),
        "kept": report.statistics.kept,
        "raw": raw,
        "supported": sum(claim.verdict == "supported" for claim in report.claims if not claim.is_quote),
        "opens": all(_opens(report, note.path, note.quote, note.line, note.end_line) for note in report.notes),
        "seconds": report.statistics.seconds,
        "cpu": cpu,
    }
    mark = "refused" if result["is_refused"] else "found" if result["found"] else "MISSED" if expected else "ANSWERED"
    print(
        f"{mark:8} {report.statistics.seconds:5.1f} s, {cpu:5.1f} CPU-s  {question}\n           {answer[:300]}",
        flush=True,
    )
    return result


def _has(text: str, expected: Sequence[str]) -> bool:
    return all(any(option.lower() in text.lower() for option in part.split("|")) for part in expected)


def _opens(report: Report, path: str, quote: str, line: int, end_line: int) -> bool:
    """Whether the quote stands at its lines in the file (or in the text extracted from it)."""
    text = Path(report.extracted.get(path, path)).read_text(encoding="utf-8", errors="replace")
    lines = text.split("\n")[line - 1 : end_line]
    return quote in " ".join(" ".join(lines).split())


def _summary(results: list[dict[str, Any]], refused: list[dict[str, Any]]) -> None:
    def share(items: list[dict[str, Any]], key: str) -> float:
        return sum(bool(item[key]) for item in items) / len(items)

    kept = sum(item["kept"] for item in results)
    raw = sum(item["raw"] for item in results)
    seconds = [item["seconds"] for item in results if not item["is_refused"]]
    print(f"\nanswerable {len(results)}, unanswerable {len(refused)}")
    print(f"found in answer or quotes   {share(results, 'found'):.2f}   (to hold: 0.75)")
    print(f"found in the answer alone   {share(results, 'in_answer'):.2f}")
    print(f"unanswerable refused        {share(refused, 'is_refused'):.2f}   (to hold: 0.90)")
    print(f"answerable refused          {share(results, 'is_refused'):.2f}   (to hold: 0.00)")
    if raw:
        supported = sum(item["supported"] for item in results)
        print(f"model sentences kept        {kept} of {raw}; {supported} supported, {kept - supported} marked")
    print(f"quotes that open verbatim   {share(results, 'opens'):.2f}   (to hold: 1.00)")
    print(f"seconds a question          median {statistics.median(seconds):.1f}, most {max(seconds):.1f}")
    cpu = [item["cpu"] for item in results if not item["is_refused"]]
    middle, most = statistics.median(cpu), max(cpu)
    print(f"CPU-seconds a question      median {middle:.1f}, most {most:.1f}   (to hold: 60 on one core)")


async def _close(engine: Engine | None) -> None:
    if engine is not None:
        await engine.close()


if __name__ == "__main__":
    main()
