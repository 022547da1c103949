#!/usr/bin/env python3
"""Copies what the README shows from the results of `conductor experiment run --all --out DIR`.

    experiments/publish.py DIR experiments/results/DATE-all

writes the verdicts, the summary and the README's picture into that folder, and the README's headline table between its
marks, from `prefill-scheduling` at the trace's own speed. Nothing but the standard library is needed.
"""

import csv
import pathlib
import shutil
import sys

EXPERIMENT, PICTURE = "prefill-scheduling", "ttft-cdf.svg"
BEGIN, END = "<!-- headline: experiments/publish.py -->\n", "<!-- end of headline -->"


def headline(raw):
    """The table of the four policies at the trace's own speed, the best of each column in bold."""
    with open(raw, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["axis speed"] == "1"]
    columns = [
        ("TTFT mean", "ttft_s.mean", lambda v: f"{v:.2f} s", min),
        ("p50", "ttft_s.p50", lambda v: f"{v:.2f} s", min),
        ("p90", "ttft_s.p90", lambda v: f"{v:.2f} s", min),
        ("p99", "ttft_s.p99", lambda v: f"{v:.2f} s", min),
        ("within SLO", "effective_ratio", lambda v: f"{v:.1%}".replace("%", " %"), max),
        ("prompt tokens reused", "hit_ratio_tokens", lambda v: f"{v:.1%}".replace("%", " %"), max),
    ]
    lines = ["| policy | " + " | ".join(name for name, *_ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        cells = [row["axis policy"]]
        for _, metric, text, best in columns:
            shown = text(float(row[metric]))
            mark = "**" if shown == text(best(float(other[metric]) for other in rows)) else ""
            cells.append(f"{mark}{shown}{mark}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, target = map(pathlib.Path, sys.argv[1:])
    target.mkdir(parents=True, exist_ok=True)
    for name in ["verdicts.csv", "verdicts.md", "summary.md"]:
        shutil.copy(source / name, target / name)
    shutil.copy(source / EXPERIMENT / PICTURE, target / PICTURE)
    readme = pathlib.Path(__file__).parent.parent / "README.md"
    text = readme.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    readme.write_text(before + BEGIN + headline(source / EXPERIMENT / "raw.csv") + END + after)


if __name__ == "__main__":
    main()
