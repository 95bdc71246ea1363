"""Percentages: every spelling that is clear, and none that is not."""

import click
import pytest

from cli.percentages import Percentage
from cli.training_options import OPTIONS
from tests.builders.programs import invoke

PERCENT_FLAGS = (
    "--testing-percentage",
    "--validation-percentage",
    "--target-precision",
    "--assert-accuracy-at-least",
    "--random-crop",
    "--random-scale",
    "--random-brightness",
)


def convert(text, **attributes):
    return Percentage(**attributes).convert(text, None, None)


@pytest.mark.parametrize(
    ("spellings", "percent"),
    [
        (("0", "0%", "0.0", "-0"), 0),
        (("0.01", "1%", "1 %", " 1% ", "1e-2", ".01"), 1),
        (("0.1", "10", "10%", "10.0", "+10", "1e1"), 10),
        (("0.987", "98.7", "98.7%"), 98.7),
        (("1.5", "1.5%", "0.015"), 1.5),
        (("0.5%", "0.005"), 0.5),
        (("100", "100%", "100.0"), 100),
    ],
)
def test_a_number_above_1_is_a_percentage_and_one_below_a_fraction(spellings, percent):
    assert {convert(text) for text in spellings} == {percent}
    assert {convert(text, gives_share=True) for text in spellings} == {percent / 100}


def test_a_percentage_that_is_whole_is_written_as_a_whole_number():
    assert str(convert("0.3")) == "30"


@pytest.mark.parametrize("text", ["1", "1.0", "1.", "01", "+1", "1e0"])
def test_a_bare_1_is_refused_with_both_spellings(text):
    with pytest.raises(click.BadParameter, match=r"Write 1% or 100%\."):
        convert(text)


@pytest.mark.parametrize(
    "text", ["", "%", "ten", "98,5", "10%%", "%10", "nan", "inf", "1_0", "0x10", "١٠", "10 20"]
)
def test_what_is_no_number_is_refused_with_an_example(text):
    with pytest.raises(click.BadParameter, match=r"not a percentage\. Write 10% or 0\.1\."):
        convert(text)


@pytest.mark.parametrize("text", ["-5", "-0.1", "101", "100.1%", "1e9", "1e999"])
def test_what_is_outside_the_whole_is_refused(text):
    with pytest.raises(click.BadParameter, match="from 0 to 100"):
        convert(text)


def test_a_distortion_takes_whole_percentages_only():
    with pytest.raises(click.BadParameter, match="whole"):
        convert("12.5", is_whole=True)
    assert convert("0.12", is_whole=True) == 12


@pytest.mark.parametrize("flag", PERCENT_FLAGS)
def test_every_flag_that_is_a_percentage_reads_it_alike(tmp_path, flag):
    for text in ("10", "10%", "0.1"):
        # The folder is missing, so what is refused is not the percentage.
        assert "no folder" in invoke("submit-dataset", tmp_path / "missing", flag, text).stderr
    refused = invoke("submit-dataset", tmp_path, flag, "1")

    assert refused.exit_code == 2
    assert "Write 1% or 100%." in refused.stderr


def test_the_options_get_the_numbers_that_they_keep():
    assert OPTIONS["testing_percentage"].type.convert("15%", None, None) == 15
    assert OPTIONS["target_precision"].type.convert("98%", None, None) == 0.98
    assert OPTIONS["random_crop"].type.convert("0.1", None, None) == 10
