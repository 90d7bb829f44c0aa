"""The jobs of `run.py` on one peer: `peers.py NAME FOLDER`, with a folder for what it keeps, inside the virtual environment that `run.py` makes.

Every object of JSON on stdout is a job that ended, well or with an `error`; `burla/src/main.rs` writes the same. It ends when its
stdin does, so that whoever started it sees every line of the calls first.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Protocol

CPUS = 2
TINY_CALLS_MAX = 200_000
LATENCY_CALLS = 500
PRINT_CALLS = 1_000
ECHO_INPUTS = 200
ECHO_BYTES = 1_000_000

# How long the tiny calls of a peer that cannot do all of them in this time are to take: long enough to be steady.
TINY_SECONDS = 7.0

# How long calls are made before anything but the start is measured. Their rate says how many tiny calls there will be.
WARM_UP_SECONDS = 2.0

Work = Callable[[Any], Any]


def double(number: int) -> int:
    return number * 2


def say(number: int) -> int:
    # To a pipe Python prints by blocks; what a call prints is wanted while it runs.
    print(f"line {number}", flush=True)
    return number


def echo(text: str) -> str:
    return text


class Peer(Protocol):
    """Two workers that are ready. `many` makes a task of its own of every input, and returns the outputs in order."""

    version: str

    def many(self, work: Work, inputs: Iterable[Any]) -> list[Any]: ...

    def one(self, work: Work, value: Any) -> Any: ...


class Pool:
    """The standard library's. A chunk is one input, so that each is a task."""

    version = f"of Python {sys.version.split()[0]}"

    def __init__(self) -> None:
        self.pool = ProcessPoolExecutor(CPUS)

    def many(self, work: Work, inputs: Iterable[Any]) -> list[Any]:
        return list(self.pool.map(work, inputs, chunksize=1))

    def one(self, work: Work, value: Any) -> Any:
        return self.pool.submit(work, value).result()


class ProcessPerCall:
    """The other pool of the standard library, as the first can only do it with `spawn`, which is slower than `fork`."""

    version = f"of Python {sys.version.split()[0]}"

    def __init__(self) -> None:
        self.pool = multiprocessing.get_context("fork").Pool(CPUS, maxtasksperchild=1)

    def many(self, work: Work, inputs: Iterable[Any]) -> list[Any]:
        return self.pool.map(work, inputs, chunksize=1)

    def one(self, work: Work, value: Any) -> Any:
        return self.pool.apply(work, (value,))


class Joblib:
    def __init__(self, batch_size: int | str) -> None:
        import joblib

        self.version = joblib.__version__
        self.delayed = joblib.delayed
        self.parallel = joblib.Parallel(n_jobs=CPUS, batch_size=batch_size)
        # Keeps the workers from one job to the next.
        self.parallel.__enter__()

    def many(self, work: Work, inputs: Iterable[Any]) -> list[Any]:
        return self.parallel(self.delayed(work)(value) for value in inputs)

    def one(self, work: Work, value: Any) -> Any:
        return self.many(work, [value])[0]


class Dask:
    def __init__(self) -> None:
        import distributed

        self.version = distributed.__version__
        self.cluster = distributed.LocalCluster(
            n_workers=CPUS, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        )
        self.client = distributed.Client(self.cluster)

    def many(self, work: Work, inputs: Iterable[Any]) -> list[Any]:
        # Pure calls with equal inputs would be one call.
        return self.client.gather(self.client.map(work, list(inputs), pure=False))

    def one(self, work: Work, value: Any) -> Any:
        return self.client.submit(work, value, pure=False).result()


class Ray:
    def __init__(self) -> None:
        import ray

        self.ray, self.version = ray, ray.__version__
        ray.init(address="local", num_cpus=CPUS, include_dashboard=False, _temp_dir=sys.argv[2])
        self.functions = {work: ray.remote(work) for work in (double, say, echo)}

    def many(self, work: Work, inputs: Iterable[Any]) -> list[Any]:
        function = self.functions[work]
        return self.ray.get([function.remote(value) for value in inputs])

    def one(self, work: Work, value: Any) -> Any:
        return self.ray.get(self.functions[work].remote(value))


PEERS: dict[str, Callable[[], Peer]] = {
    "pool": Pool,
    "process-per-call": ProcessPerCall,
    "joblib": lambda: Joblib(batch_size=1),
    "joblib-auto": lambda: Joblib(batch_size="auto"),
    "dask": Dask,
    "ray": Ray,
}


def report(job: str, **fields: Any) -> None:
    # In one write, as the workers may print to the same pipe.
    sys.stdout.flush()
    os.write(1, f"{json.dumps({'job': job, **fields})}\n".encode())


def check(outputs: object, expected: object) -> None:
    if outputs != expected:
        raise RuntimeError("the outputs are not what the inputs make them")


def warm_up(peer: Peer) -> float:
    """Returns the rate of calls, per second."""
    calls, began = 50, time.perf_counter()
    while True:
        started = time.perf_counter()
        peer.many(double, range(calls))
        seconds = time.perf_counter() - started
        if time.perf_counter() - began > WARM_UP_SECONDS:
            return calls / seconds
        calls *= 2


def tiny(peer: Peer) -> None:
    wanted = int(warm_up(peer) * TINY_SECONDS)
    # The pool is the baseline, so it does as many as Burla.
    calls = TINY_CALLS_MAX if isinstance(peer, Pool) else min(wanted, TINY_CALLS_MAX)
    started = time.perf_counter()
    outputs = peer.many(double, range(calls))
    seconds = time.perf_counter() - started
    check(outputs, [number * 2 for number in range(calls)])
    report("tiny", calls=calls, seconds=seconds)


def latency(peer: Peer) -> None:
    latencies = []
    for number in range(LATENCY_CALLS):
        started = time.perf_counter()
        peer.one(double, number)
        latencies.append(time.perf_counter() - started)
    report("latency", seconds=latencies)


def echoes(peer: Peer) -> None:
    # Texts that differ, as nobody could keep one for all.
    texts = [f"{number:0>{ECHO_BYTES}}" for number in range(ECHO_INPUTS)]
    started = time.perf_counter()
    outputs = peer.many(echo, texts)
    seconds = time.perf_counter() - started
    check(outputs, texts)
    report("echo", inputs=ECHO_INPUTS, bytes=ECHO_BYTES, seconds=seconds)


def prints(peer: Peer) -> None:
    report("prints begin")
    peer.many(say, range(PRINT_CALLS))
    report("prints", calls=PRINT_CALLS)


def main() -> None:
    peer = PEERS[sys.argv[1]]()
    check(peer.one(double, 21), 42)
    report("first", version=peer.version)
    jobs: dict[str, Callable[[Peer], None]] = {"tiny": tiny, "latency": latency, "echo": echoes, "prints": prints}
    for job, run in jobs.items():
        try:
            run(peer)
        except Exception as error:  # noqa: BLE001
            # What fails is shown, and the other jobs go on.
            report(job, error=f"{type(error).__name__}: {error}"[:300])
    sys.stdin.read()


if __name__ == "__main__":
    main()
