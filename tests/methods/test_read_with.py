"""What a method declares unread is unread, and tables know it without importing the method."""

import subprocess
import sys
from itertools import product

from methods import registry

CHANGED = {"decay_rate": 0.25, "decay_floor": 0.3, "decay_epochs": 3, "rampup_epochs": 3}
EPOCHS = 20


def test_a_value_that_is_declared_unread_changes_no_weight_and_one_that_is_read_does() -> None:
    model = registry.load("dkel").Hyperparameters
    assert set(model.read_with) == set(CHANGED)
    valid = {"decay": ("exp", "linear", "cosine", "step", "constant", "none"), "ramp": ("intended", "released", "none")}
    for (name, (other, read)), number in product(model.read_with.items(), range(6)):
        if number < len(valid[other]):
            value = valid[other][number]
            plain = model.resolve({other: value}, EPOCHS).schedules(EPOCHS)
            changed = model.resolve({other: value, name: CHANGED[name]}, EPOCHS).schedules(EPOCHS)
            differs = any(plain[term].values != changed[term].values for term in plain)
            assert differs == (value in read), (name, value)


def test_it_is_known_without_the_method() -> None:
    program = "import sys; from methods import registry; print(sorted(registry.read_with()), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"{sorted(CHANGED)} False\n"
