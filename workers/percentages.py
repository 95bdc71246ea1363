"""Percentages as people write them: ``10``, ``10%`` and ``0.1`` are the same."""

import re
from decimal import Decimal

_SPELLING = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?)\s*(%?)", re.ASCII | re.I)


def read_percent(text: str) -> Decimal:
    """Return a percentage from 0 to 100.

    A number with a percent sign, or above 1, is a percentage; one below 1 is a fraction.

    Raises:
        ValueError: When it is none, or a bare 1, which could be either.
    """
    spelling = _SPELLING.fullmatch(text.strip())
    if spelling is None:
        raise ValueError(f"{text!r} is not a percentage. Write 10% or 0.1.")
    number, sign = Decimal(spelling[1]), spelling[2]
    if number == 1 and not sign:
        raise ValueError(f"{text} could mean 1% or all. Write 1% or 100%.")
    percent = number if sign or number > 1 else number * 100
    if not 0 <= percent <= 100:
        raise ValueError(f"{text} is not a percentage from 0 to 100.")
    return percent
