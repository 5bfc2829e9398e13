"""The page says what the tests check."""

from __future__ import annotations

from pathlib import Path

import pytest

from better import BETTER
from page import PAGE, page
from world import BEHAVIOURS

SUITE = Path(__file__).parent.parent / "suite"


def test_the_page_is_what_the_tests_say() -> None:
    assert PAGE.read_text() == page(), "run tests/behaviour/page.py"


def test_no_behaviour_is_left_out() -> None:
    page()
    assert sorted(BEHAVIOURS) == [*range(1, 84)]


@pytest.mark.parametrize("test", [test for _, test in BETTER.values()])
def test_what_is_better_is_tested(test: str) -> None:
    file, name = test.split("::")
    assert f"\ndef {name}(" in (SUITE / file).read_text()
