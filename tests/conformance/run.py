"""Run Keras' own tests on torchkeras, and hold what passes.

    python tests/conformance/run.py 3.15.1                      what the suite is made of
    python tests/conformance/run.py 2.3.1 --source CHECKOUT     1.2.2 and 2.3.1 need a checkout
    python tests/conformance/run.py 3.15.1 ops/nn_test.py       some files
    … --update      add what passes now to passing-VERSION.txt
    … --readme      write the table into README.md
    … --failures    print each failing test and its error
    … --json FILE   write each test and how it ended
    … --every N     run a fixed sample of one test in N

Ends with 1 when a test that passed before (passing-VERSION.txt) does so no longer.
``not_applicable.txt`` and ``waiting.txt`` say which tests do not count, or not yet, and why.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import suites  # noqa: E402

REPOSITORY = HERE.parents[1]
# In the order of the table's columns.
KINDS = ("passed", "failed", "waiting", "not applicable", "skipped")


def run_files(
    suite: suites.Suite, root: Path, names: list[str], seconds: int, every: int
) -> list[dict[str, Any]]:
    """Run some test files in a process of their own.

    Returns:
        For each test its id, outcome, first line of the error, and what it needed in vain.
    """
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results.jsonl")
        results.touch()
        empty = Path(folder, "pytest.ini")
        empty.write_text("[pytest]\n")
        environment = {
            **os.environ,
            "CONFORMANCE_VERSION": suite.version,
            "CONFORMANCE_ROOT": str(root),
            "CONFORMANCE_RESULTS": str(results),
            "CONFORMANCE_EVERY": str(every),
            "KERAS_BACKEND": "torch",
            "MPLBACKEND": "agg",
            "OMP_NUM_THREADS": "1",
            "JAX_PLATFORMS": "cpu",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join([str(HERE), str(REPOSITORY)]),
        }
        command = [sys.executable, "-m", "pytest", "-p", "plugin", "-p", "no:cacheprovider", "-q"]
        command += [
            "--continue-on-collection-errors",
            "--noconftest",
            "-c",
            str(empty),
            f"--rootdir={root}",
            "-W",
            "ignore",
        ]
        try:
            ended = subprocess.run(
                [*command, "--tb=short", *(str(root / name) for name in names)],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=seconds,
            )
            said = (ended.stdout + ended.stderr).strip().splitlines()
            code = ended.returncode
        except subprocess.TimeoutExpired:
            said, code = [f"took more than {seconds} s"], 1
        lines = [json.loads(line) for line in results.read_text().splitlines()]
        if code not in (0, 1, 2, 5) or (code in (1, 2) and not lines):
            lines.append(
                {
                    "test": names[-1],
                    "outcome": "error",
                    "needs": None,
                    "message": (said or ["nothing was said"])[-1][:400],
                }
            )
        return _last_of_each(lines)


def _last_of_each(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep one line a test: the worst."""
    order = {"passed": 0, "skipped": 1, "failed": 2, "error": 3}
    kept: dict[str, dict[str, Any]] = {}
    for line in lines:
        seen = kept.get(line["test"])
        if seen is None or order[line["outcome"]] > order[seen["outcome"]]:
            kept[line["test"]] = line
    return list(kept.values())


def sort_out(suite: suites.Suite, lines: list[dict[str, Any]]) -> None:
    """Give each test its kind, and a reason where there is one."""
    not_applicable = suites.rules("not_applicable.txt")
    waiting = suites.rules("waiting.txt")
    for line in lines:
        line["reason"] = ""
        if line["outcome"] in ("passed", "skipped"):
            line["kind"] = line["outcome"]
        elif reason := suites.reason_for(not_applicable, suite.version, line):
            line["kind"], line["reason"] = "not applicable", reason
        elif reason := suites.reason_for(waiting, suite.version, line):
            line["kind"], line["reason"] = "waiting", reason
        else:
            line["kind"] = "failed"


def table(by_file: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the table of a suite as lines of Markdown."""
    rows = [f"| file | {' | '.join(KINDS)} |", f"| --- {'| ---: ' * len(KINDS)}|"]
    sums: collections.Counter[str] = collections.Counter()
    for name, lines in by_file.items():
        counted = collections.Counter(line["kind"] for line in lines)
        sums.update(counted)
        rows.append(f"| {name} | {' | '.join(str(counted[kind]) for kind in KINDS)} |")
    rows.append(f"| **all** | {' | '.join(f'**{sums[kind]}**' for kind in KINDS)} |")
    return rows


def write_readme(version: str, rows: list[str]) -> None:
    """Put a suite's table between its marks in README.md.

    Raises:
        SystemExit: when README.md has no such marks.
    """
    path = REPOSITORY / "README.md"
    text = path.read_text()
    begin, end = f"<!-- conformance {version} -->\n", f"<!-- end {version} -->\n"
    if begin not in text or end not in text:
        raise SystemExit(f"README.md has no {begin.strip()} … {end.strip()}.")
    head, tail = text.split(begin)[0], text.split(end)[1]
    path.write_text(head + begin + "\n" + "\n".join(rows) + "\n\n" + end + tail)


def grouped(root: Path, names: list[str]) -> list[list[str]]:
    """Put files together for one process, which takes seconds to start: up to 150 KiB of tests."""
    groups: list[list[str]] = []
    size = 0
    for name in names:
        own = (root / name).stat().st_size
        if groups and size + own < 150 * 1024:
            groups[-1].append(name)
            size += own
        else:
            groups.append([name])
            size = own
    return groups


def show(name: str, lines: list[dict[str, Any]], failures: bool) -> None:
    """Print how the tests of a file ended, and what failed."""
    counted = collections.Counter(line["kind"] for line in lines)
    said = ", ".join(f"{counted[kind]} {kind}" for kind in KINDS if counted[kind])
    print(f"{name}: {said or 'no tests'}", flush=True)
    for line in lines if failures else ():
        if line["kind"] == "failed":
            error = " ".join(line["message"].split())
            print(f"    {line['test'].partition('::')[2]}: {error}")


def main() -> int:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("version", choices=sorted(suites.SUITES))
    parser.add_argument("files", nargs="*", help="test files or folders, below the suite's tests")
    parser.add_argument("--source", help="a checkout of keras-team/keras at that version")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=int, default=900, help="that one file may take")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--readme", action="store_true")
    parser.add_argument("--failures", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()

    suite = suites.SUITES[options.version]
    root = suite.root(options.source)
    names = suite.test_files(root, options.files)
    by_file: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    limits = options.seconds, options.every
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        some = grouped(root, names)
        running = [pool.submit(run_files, suite, root, group, *limits) for group in some]
        for group, future in zip(some, running):
            lines = future.result()
            sort_out(suite, lines)
            for line in lines:
                by_file.setdefault(line["test"].partition("::")[0], []).append(line)
            for name in group:
                show(name, by_file[name], options.failures)
            if options.json:  # at each step, so that a run cut short has something to show
                done = [line for lines in by_file.values() for line in lines]
                Path(options.json).write_text(json.dumps(done, indent=1))

    everything = [line for lines in by_file.values() for line in lines]
    rows = table(by_file)
    print(rows[-1])
    if options.readme:
        write_readme(suite.version, rows)

    passed = {line["test"] for line in everything if line["kind"] == "passed"}
    before = suites.passing(suite.version)
    if options.update:
        ids = "".join(f"{one}\n" for one in sorted(before | passed))
        suites.passing_file(suite.version).write_text(ids)
        print(f"{len(passed - before)} more pass than before.")
    ran = set(names)
    asked = {one for one in before if one.partition("::")[0] in ran}
    lost = {one for one in asked if suites.in_sample(one, options.every)} - passed
    # A busy machine lets one go now and then: what is lost twice is lost.
    for name in sorted({one.partition("::")[0] for one in lost}):
        again = run_files(suite, root, [name], *limits)
        lost -= {line["test"] for line in again if line["outcome"] == "passed"}
    for one in sorted(lost):
        print(f"lost: {one}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
