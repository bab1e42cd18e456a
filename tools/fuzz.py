"""``make fuzz``: the property tests draw other examples in round after round, until one fails or the time is up.

``python -m tools.fuzz [MINUTES]`` ends with exit code 1 at the first round that fails, and prints the command that
repeats it.
"""

import os
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from tests import profiles

# one process, so that a seed says which examples are drawn in which order
ROUND = (
    *("-m", "pytest", "-m", "hypothesis", f"--hypothesis-profile={profiles.FUZZ}", "-p", "no:xdist", "--quiet"),
    # a test with many more examples than usual may take its time
    "--timeout=1200",
)


def fuzz(minutes: float, only: Sequence[str] = (), draw: Callable[[int], int] = secrets.randbits) -> bool:
    """Begin rounds until the time is up, at least one; return whether all were good.

    Args:
        minutes: The last round may end later.
        only: Files, or further words for pytest; all property tests if there are none.
        draw: Gives each round's seed, of so many bits.
    """
    end = time.monotonic() + 60 * minutes
    rounds = 0
    while not rounds or time.monotonic() < end:
        rounds += 1
        seed = draw(32)
        words = [sys.executable, *ROUND, f"--hypothesis-seed={seed}", *only]
        # the order in which sets are gone through is another thing that chance must not decide
        environment = {"PYTHONHASHSEED": str(seed), profiles.EXAMPLES: str(profiles.fuzz_examples())}
        print(f"round {rounds}: seed {seed}", flush=True)
        if subprocess.run(words, env={**os.environ, **environment}).returncode:
            command = shlex.join(["env", *(f"{key}={value}" for key, value in environment.items()), *words])
            print(f"round {rounds} failed; this repeats it:\n{command}")
            return False
    print(f"{rounds} {'round' if rounds == 1 else 'rounds'} without a failure")
    return True


if __name__ == "__main__":
    if not fuzz(float(sys.argv[1]) if len(sys.argv) > 1 else 20, sys.argv[2:]):
        sys.exit(1)
