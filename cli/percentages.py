"""Percentages on the command line: ``10``, ``10%`` and ``0.1`` are the same."""

import re
from decimal import Decimal
from typing import Any

import click

_SPELLING = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?)\s*(%?)", re.ASCII | re.I)


class Percentage(click.ParamType[float]):
    """A part of a whole, from 0 to 100 percent.

    A number with a percent sign, or above 1, is a percentage; one below 1 is a fraction. A bare
    1 could be either, so it is refused.

    Attributes:
        gives_share: Convert to a fraction (0.1), not to a percentage (10).
        is_whole: Take whole percentages only.
        is_positive: Refuse 0.
    """

    name = "percentage"

    def __init__(
        self, *, gives_share: bool = False, is_whole: bool = False, is_positive: bool = False
    ) -> None:
        self.gives_share = gives_share
        self.is_whole = is_whole
        self.is_positive = is_positive

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        spelling = _SPELLING.fullmatch(str(value).strip())
        if spelling is None:
            self.fail(f"{str(value)!r} is not a percentage. Write 10% or 0.1.", param, ctx)
        number, sign = Decimal(spelling[1]), spelling[2]
        if number == 1 and not sign:
            self.fail(f"{value} could mean 1% or all. Write 1% or 100%.", param, ctx)
        percent = number if sign or number > 1 else number * 100
        if not 0 <= percent <= 100:
            self.fail(f"{value} is not a percentage from 0 to 100.", param, ctx)
        if self.is_positive and not percent:
            self.fail(f"{value} is too low: it must be above 0%.", param, ctx)
        is_whole = percent == int(percent)
        if self.is_whole and not is_whole:
            self.fail(f"{value} is not a whole percentage, such as 10%.", param, ctx)
        if self.gives_share:
            return float(percent / 100)
        return int(percent) if is_whole else float(percent)
