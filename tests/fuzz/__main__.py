"""Run the fuzzer: `python -m tests.fuzz --minutes 30`, or `make fuzz MINUTES=30 SEED=1`.

The number of a try and the seed determine an input. A broken promise is printed with the command
that repeats it, and its input is saved. The exit status is then 3.
"""

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.targets import TARGETS, Target, Trial

CHECK_FAILED = 3  # exit status: a promise is broken


def main(argv: list[str] | None = None) -> int:
    """Fuzz, and print one line for each target."""
    arguments = parse_args(argv)
    targets = [target() for target in TARGETS if target.name in arguments.targets]
    if arguments.replay is not None:
        return _replay(targets, arguments.replay)
    print(f"seed {arguments.seed}", flush=True)
    end = time.monotonic() + 60 * arguments.minutes
    results: dict[str, list[Trial]] = {target.name: [] for target in targets}
    faults = 0
    number = arguments.first
    try:
        while number < arguments.first + arguments.tries and time.monotonic() < end:
            for target in targets:
                data = target.make(random.Random(f"{arguments.seed} {target.name} {number}"))
                trial = target.try_input(data)
                results[target.name].append(trial)
                if trial.fault:
                    faults += 1
                    _report(target, data, trial, arguments.out, f"{arguments.seed}-{number}")
            number += 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    finally:
        for target in targets:
            target.close()
    for name, trials in results.items():
        print(_summary(name, trials))
    return CHECK_FAILED if faults else 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    names = [target.name for target in TARGETS]
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this time")
    parser.add_argument("--tries", type=int, default=10**9, help="stop after this many tries each")
    parser.add_argument("--seed", type=int, default=None, help="default: a random one")
    parser.add_argument("--first", type=int, default=0, help="number of the first try")
    parser.add_argument(
        "--targets", type=lambda text: text.split(","), default=names, help=",".join(names)
    )
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="folder for failing inputs")
    parser.add_argument("--replay", type=Path, help="try one saved input; pass its target, too")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.targets) - set(names):
        parser.error(f"no target {', '.join(sorted(unknown))}: choose from {', '.join(names)}")
    if arguments.replay is not None and len(arguments.targets) != 1:
        parser.error("pass the target of the input with --targets")
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(10**6)
    return arguments


def _report(target: Target, data: bytes, trial: Trial, folder: Path, name: str) -> None:
    """Save an input that broke a promise, and print the command that repeats it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{target.name}-{name}{target.suffix}"
    path.write_bytes(data)
    print(f"FAULT {target.name}: {_describe(trial)}")
    print(f"  {sys.executable} -m tests.fuzz --targets {target.name} --replay {path}", flush=True)


def _replay(targets: list[Target], path: Path) -> int:
    (target,) = targets
    try:
        trial = target.try_input(path.read_bytes())
    finally:
        target.close()
    print(f"{'FAULT' if trial.fault else 'ok'} {target.name}: {_describe(trial)}")
    return CHECK_FAILED if trial.fault else 0


def _describe(trial: Trial) -> str:
    return f"{trial.outcome}; {trial.cpu_s:.2f} CPU s, {trial.mb:.0f} MB"


def _summary(name: str, trials: list[Trial]) -> str:
    """Return the numbers of a target's tries in one line."""
    counts = Counter("fault" if trial.fault else trial.outcome for trial in trials)
    cpu_s = max((trial.cpu_s for trial in trials), default=0)
    mb = max((trial.mb for trial in trials), default=0)
    kinds = ", ".join(f"{counts[kind]:,} {kind}" for kind in ("done", "refused", "fault"))
    return f"{name}: {len(trials):,} tries: {kinds}; at most {cpu_s:.2f} CPU s, {mb:.0f} MB"


if __name__ == "__main__":
    sys.exit(main())
