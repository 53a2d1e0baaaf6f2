"""All measurements, and the page that shows them.

    python benchmarks/report --out runs/benchmarks [--threads 2] [--only step-bert,decoding] [--again] [--page-only]

Every part is a benchmark of this folder, run on its own; its result is kept in the --out folder and not measured again
there unless ``--again`` says so: an interrupted report goes on where it was. Then docs/reference/performance.md and
docs/images/scaling.svg are written from all results that are there. Needs an idle machine for some twenty minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from page import all_rows, page
from parts import BENCHMARKS, parts, take, taken

from harness.output import say, usable_cores
from harness.scaling_plot import plot

DOCS = BENCHMARKS.parent / "docs"
PAGE, FIGURE = Path("reference/performance.md"), Path("images/scaling.svg")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder of the parts' results")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder that the page and the figure are written into")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--only", default="", help="beginnings of names of parts, separated by commas")
    parser.add_argument("--again", action="store_true", help="measure parts again that are there")
    parser.add_argument("--page-only", action="store_true", help="measure nothing, write the page")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    every = parts(options.threads)
    beginnings = tuple(name for name in options.only.split(",") if name)
    chosen = [part for part in every if not beginnings or part.name.startswith(beginnings)]
    problems = []
    for part in [] if options.page_only else chosen:
        if (options.out / f"{part.name}.json").exists() and not options.again:
            say(f"{part.name}: is there already")
            continue
        start = time.monotonic()
        problem = take(part, options.out)
        say(f"{part.name}: {problem or 'measured'} ({time.monotonic() - start:.0f} s)")
        problems += [part.name] if problem else []
    results = taken(options.out, every)
    scaling = all_rows(result for result in results if result["section"] == "scaling")
    if scaling:
        plot(scaling, options.docs / FIGURE)
    text = page(results, f"../{FIGURE.as_posix()}" if scaling else None)
    (options.docs / PAGE).parent.mkdir(parents=True, exist_ok=True)
    (options.docs / PAGE).write_text(text, encoding="utf-8")
    say(f"wrote {options.docs / PAGE}" + (f"; not measured: {', '.join(problems)}" if problems else ""))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
