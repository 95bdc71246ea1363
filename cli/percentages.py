"""Percentages on the command line."""

from typing import Any

import click

from workers.percentages import read_percent


class Percentage(click.ParamType[float]):
    """A part of a whole, from 0 to 100 percent, as `read_percent` reads it.

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
        try:
            percent = read_percent(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if self.is_positive and not percent:
            self.fail(f"{value} is too low: it must be above 0%.", param, ctx)
        is_whole = percent == int(percent)
        if self.is_whole and not is_whole:
            self.fail(f"{value} is not a whole percentage, such as 10%.", param, ctx)
        if self.gives_share:
            return float(percent / 100)
        return int(percent) if is_whole else float(percent)
