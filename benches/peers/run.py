#!/usr/bin/env python3
"""Runs the same jobs on a Burla grid and on its peers, one after another, and prints one table.

    python3 benches/peers/run.py

Needs Linux, what the project needs to build, Python 3.10 or later with `venv`, and PyPI. README.md says what is compared.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").absolute()
VENV = ROOT / "target" / "peers-venv"
CARGO = os.environ.get("CARGO") or "cargo"

# All that the programs of one system may use. `peers.py` and the node have as many workers.
CPUS = 2

# For all jobs of one system, so that nothing hangs. On a busy machine the slowest took a quarter of it.
SYSTEM_SECONDS_MAX = 240.0

# For a scheduler to listen, and for processes to end by themselves before they are killed.
PATIENCE_SECONDS = 10.0

# Between the end of a program's stdout and its own.
EXIT_SECONDS_MAX = 1.0

# What a program wrote to stderr last, as far as it is shown when it failed.
STDERR_CHARS_MAX = 300

# Daemons whose log nobody reads must not fill its pipe.
QUIET = {"BURLA_LOG": "warn"}

JOBS = ("first", "tiny", "latency", "echo", "prints")

Results = dict[str, dict[str, Any]]


class System(NamedTuple):
    name: str
    label: str
    isolation: str


BURLA = System("burla", "Burla", "fresh instance per call, and a private directory where it asks for one")
SYSTEMS = (
    BURLA,
    System("pool", "ProcessPoolExecutor", "none, processes serve again"),
    System("process-per-call", "multiprocessing.Pool, maxtasksperchild=1", "fresh process per call (fork), no directory"),
    System("joblib", "joblib (loky), batch_size=1", "none, processes serve again"),
    System("joblib-auto", "joblib (loky), batch_size='auto'", "none, processes serve again, a task is many calls"),
    System("dask", "Dask distributed", "none, processes serve again"),
    System("ray", "Ray", "none, processes serve again"),
)


def main() -> None:
    arguments = parse_arguments()
    load = os.getloadavg()
    print(f"load average at the start: {load[0]:.2f} {load[1]:.2f} {load[2]:.2f}", file=sys.stderr)
    systems = [system for system in SYSTEMS if not arguments.only or system.name in arguments.only]
    paths = build(arguments)
    packages = make_venv()
    # Programs inherit it, so that a larger machine gives none of them more.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CPUS])
    rounds: dict[str, list[Results]] = {system.name: [] for system in systems}
    for number in range(arguments.rounds):
        for system in systems:
            print(f"round {number + 1} of {arguments.rounds}: {system.label}", file=sys.stderr)
            with tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as folder:
                results = run_burla(paths, Path(folder)) if system is BURLA else run_peer(system.name, Path(folder))
            rounds[system.name].append(results)
    if arguments.json:
        raw = {"load_average": load, "python": sys.version, "packages": packages, "rounds": rounds}
        arguments.json.write_text(json.dumps(raw, indent=1) + "\n")
    print("\n".join(table(systems, rounds)))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Runs the same jobs on a Burla grid and on its peers.")
    parser.add_argument("--bin-dir", type=Path, help="where burla-scheduler, burla-node and cargo-burla are, if not to be built")
    parser.add_argument("--no-build", action="store_true", help="build nothing: all was built before")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything runs; medians are shown (default: 3)")
    parser.add_argument("--only", nargs="+", choices=[system.name for system in SYSTEMS], help="run these systems alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write raw results")
    return parser.parse_args()


def build(arguments: argparse.Namespace) -> dict[str, Path]:
    """Returns where the programs and the component are, by their names."""
    folder: Path = (arguments.bin_dir or TARGET / "debug").absolute()
    if not arguments.no_build:
        daemons = [] if arguments.bin_dir else ["-p", "cargo-burla", "-p", "burla-host", "-p", "burla-scheduler"]
        subprocess.run([CARGO, "build", "-p", "burla-peers", *daemons], cwd=ROOT, check=True)
        # What it says is for people, and stdout is the table's.
        subprocess.run([folder / "cargo-burla", "build", "-p", "burla-peers"], cwd=ROOT, check=True, stdout=sys.stderr)
    paths = {name: folder / name for name in ("burla-scheduler", "burla-node")}
    paths |= {"burla-peers": TARGET / "debug" / "burla-peers", "component": TARGET / "burla" / "burla-peers.wasm"}
    if missing := [str(path) for path in paths.values() if not path.is_file()]:
        sys.exit(f"not built: {', '.join(missing)}; run it without --no-build")
    return paths


def make_venv() -> list[str]:
    """Installs the peers, unless just these are installed already. Returns all packages that are."""
    requirements = HERE / "requirements.txt"
    digest, mark = hashlib.sha256(requirements.read_bytes()).hexdigest(), VENV / "requirements.sha256"
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    if not mark.is_file() or mark.read_text() != digest:
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
        subprocess.run([*pip, "install", "--quiet", "-r", str(requirements)], check=True, stdout=sys.stderr)
        mark.write_text(digest)
    return subprocess.check_output([*pip, "freeze"], text=True).split()


def run_peer(name: str, folder: Path) -> Results:
    # Ray keeps a token at home and reports its use, and of lines that are alike it shows one.
    settings = {"HOME": str(folder), "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    return follow([VENV / "bin" / "python", HERE / "peers.py", name, folder], settings, folder, time.monotonic(), JOBS)


def run_burla(paths: dict[str, Path], folder: Path) -> Results:
    (folder / "sandboxes").mkdir()
    fresh = run_grid(paths, folder, ["--first"], JOBS[:1])
    # Now the component is on the scheduler's disk, and compiled on the node's.
    results = run_grid(paths, folder, [], JOBS)
    return {**results, **fresh, "first again": results["first"]}


def run_grid(paths: dict[str, Path], folder: Path, arguments: list[str], jobs: tuple[str, ...]) -> Results:
    """Runs the jobs on a scheduler and a node of their own, which keep their data in `folder`."""
    started = time.monotonic()
    scheduler = [paths["burla-scheduler"], "--listen", "127.0.0.1:0", "--data-dir", folder / "scheduler"]
    with process(scheduler, QUIET, folder, daemon=True) as listening:
        said = (line for _, line in lines(listening, started + PATIENCE_SECONDS))
        url = next((line.split()[-1] for line in said if "listening on " in line), None)
        if url is None:
            return {job: {"error": f"the scheduler did not listen{ending(listening, folder, PATIENCE_SECONDS)}"} for job in jobs}
        node = [paths["burla-node"], "--cpus", str(CPUS), "--data-dir", folder / "node", "--sandbox-dir", folder / "sandboxes"]
        settings = {"BURLA_URL": url, "BURLA_COMPONENT": str(paths["component"]), "RUST_BACKTRACE": "0"}
        with process(node, settings | QUIET, folder, daemon=True):
            return follow([paths["burla-peers"], *arguments], settings, folder, started, jobs)


@contextlib.contextmanager
def process(
    command: list[Any], settings: dict[str, str], folder: Path, daemon: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A process, which is asked to end by the end of its stdin, or a daemon by SIGTERM, and then killed with its children."""
    pipe, environment = subprocess.PIPE, {**os.environ, **settings}
    with open(folder / f"{Path(command[0]).name}.stderr", "wb") as stderr:
        running = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=stderr, start_new_session=True)
    try:
        yield running
    finally:
        if daemon:
            running.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.communicate(timeout=PATIENCE_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate()


def lines(running: subprocess.Popen[bytes], deadline: float) -> Iterator[tuple[float, str]]:
    """Lines of a program as they come, each with the time of its coming, until the deadline or the end."""
    assert running.stdout
    pipe, rest = running.stdout.fileno(), b""
    while select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0] and (read := os.read(pipe, 1 << 16)):
        now = time.monotonic()
        *whole, rest = (rest + read).split(b"\n")
        yield from ((now, line.decode(errors="replace")) for line in whole)


def follow(command: list[Any], settings: dict[str, str], folder: Path, started: float, jobs: tuple[str, ...]) -> Results:
    """Runs a program, and collects what it reports of its jobs. The lines of its calls are counted as they come."""
    results: Results = {}
    said: set[str] = set()
    at, reason = 0.0, ""
    with process(command, settings, folder) as running:
        for now, line in lines(running, started + SYSTEM_SECONDS_MAX):
            at = now - started
            if (begin := line.find('{"job"')) >= 0:
                result = json.loads(line[begin:])
                results[result.pop("job")] = {"at": at, **result}
            said.update(re.findall(r"line (\d+)", line))
            if all(job in results for job in jobs) and len(said) >= results.get("prints", {}).get("calls", 0):
                break
        else:
            reason = ending(running, folder, SYSTEM_SECONDS_MAX)
    for job in jobs:
        results.setdefault(job, {"error": f"not done{reason}"})
    prints = results.get("prints", {})
    if "calls" in prints:
        missing = prints["calls"] - len(said)
        prints |= {"error": f"{missing} lines did not come"} if missing else {"seconds": at - results["prints begin"]["at"]}
    return results


def ending(running: subprocess.Popen[bytes], folder: Path, seconds: float) -> str:
    try:
        running.wait(EXIT_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        return f" within {seconds:.0f} s"
    stderr = (folder / f"{Path(str(running.args[0])).name}.stderr").read_text(errors="replace")  # type: ignore[index]
    return f": it ended with {running.returncode}: {' '.join(stderr.split())[-STDERR_CHARS_MAX:]}"


class Column(NamedTuple):
    """A figure of a job's result, and whether more of it is better."""

    heading: str
    job: str
    more_is_better: bool
    digits: int
    figure: Callable[[dict[str, Any]], float]


COLUMNS = (
    Column("tiny calls/s", "tiny", True, 0, lambda result: result["calls"] / result["seconds"]),
    Column("one call, p50 ms", "latency", False, 2, lambda result: percentile(result["seconds"], 50) * 1e3),
    Column("p99 ms", "latency", False, 2, lambda result: percentile(result["seconds"], 99) * 1e3),
    Column("1,000 prints, s", "prints", False, 3, lambda result: result["seconds"]),
    Column("1 MB echoed, MB/s", "echo", True, 0, lambda result: 2e-6 * result["inputs"] * result["bytes"] / result["seconds"]),
    Column("start, s", "first", False, 2, lambda result: result["at"]),
)


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def table(systems: list[System], rounds: dict[str, list[Results]]) -> Iterator[str]:
    """Lines of Markdown. `N ×` is how many times better Burla is."""
    heads = ["system", "what isolates a call", "tiny calls", *(column.heading for column in COLUMNS)]
    yield f"| {' | '.join(heads)} |"
    yield f"|---|---{'|---:' * (len(heads) - 2)}|"
    burla = rounds.get(BURLA.name, [])
    for system in systems:
        results = rounds[system.name]
        version = next((jobs["first"]["version"] for jobs in results if "version" in jobs["first"]), "")
        calls = median([float(jobs["tiny"]["calls"]) for jobs in results if "calls" in jobs["tiny"]])
        cells = [cell(figure(results, column), figure(burla, column), column) for column in COLUMNS]
        yield f"| {system.label} {version} | {system.isolation} | {f'{calls:,.0f}' if calls else 'failed'} | {' | '.join(cells)} |"
    again = median([jobs["first again"]["at"] for jobs in burla if "at" in jobs["first again"]])
    yield f"\nBurla's start with the component compiled before: {again:.2f} s" if again else ""
    for system in systems:
        for number, jobs in enumerate(rounds[system.name], 1):
            errors = ((job, result["error"]) for job, result in jobs.items() if "error" in result)
            yield from (f"failed: {system.label}, {job}, round {number}: {error}" for job, error in errors)


def median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def figure(results: list[Results], column: Column) -> float | None:
    """The median of the rounds in which the job did not fail."""
    return median([column.figure(jobs[column.job]) for jobs in results if "error" not in jobs[column.job]])


def cell(value: float | None, burla: float | None, column: Column) -> str:
    if value is None:
        return "failed"
    shown = f"{value:,.{column.digits}f}"
    if burla is None:
        return shown
    ratio = burla / value if column.more_is_better else value / burla
    return f"**{ratio:,.{0 if ratio >= 10 else 1 if ratio >= 1 else 2}f} ×** {shown}"


if __name__ == "__main__":
    main()
