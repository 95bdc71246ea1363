"""The fuzzer's targets by themselves: each seed whole, cut, and with a bit flipped.

`make fuzz` looks further, for a minute each.
"""

import pytest

from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_raises_nothing_but_its_own_error(name):
    target = TARGETS[name]
    for seed in target.seeds():
        target.run(seed)
        for share in (0, 0.3, 0.7, 0.99):
            target.run(seed[: int(share * len(seed))])
        for place in range(0, len(seed), max(1, len(seed) // 8)):
            target.run(seed[:place] + bytes([seed[place] ^ 0x41]) + seed[place + 1 :])
