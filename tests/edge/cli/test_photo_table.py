"""The table of `dermedge predict` fits the terminal, whatever is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dermedge.edge.cli.photo_table import brief_table
from dermedge.edge.model.decision import Headline
from dermedge.edge.results import Classification
from dermedge.edge.sources.frame import Frame

CLASSIFIER: Any = SimpleNamespace(alert_label="melanoma")


@pytest.fixture
def table(make_classification: Callable[[], Classification]) -> Callable[..., list[str]]:
    """A function that makes the lines for one photo of this name with this headline."""

    def make(name: str, headline: Headline, prediction_set: tuple[str, ...] | None = None) -> list[str]:
        one = make_classification()
        one = replace(
            one,
            frame=Frame(one.frame.image_bgr, 0, 0.0, name),
            headline=headline,
            prediction_set=prediction_set,
        )
        return list(brief_table([one], CLASSIFIER, [Path(name)]))

    return make


def test_a_long_answer_goes_on_below_and_a_long_name_keeps_its_end(table: Callable[..., list[str]]) -> None:
    unclear = Headline("not clearly one of the 4 classes", "nevus")
    head, first, second, third = table(f"{'folder/' * 12}photo.jpg", unclear, ("melanoma", "nevus"))
    assert max(map(len, (head, first, second, third))) <= 80
    assert "photo.jpg  not clearly one of the 4 classes  " in first
    assert second.strip() == "nearest: nevus"
    assert third.strip() == "{melanoma, nevus}"
    assert len({line.index(text) for line, text in ((head, "answer"), (second, "nearest"))}) == 1


def test_a_short_name_leaves_room_for_the_answer_in_one_line(table: Callable[..., list[str]]) -> None:
    _, line = table("a.jpg", Headline("uncertain", "nevus"))
    assert line.startswith("a.jpg  uncertain; nearest: nevus  ")


def test_no_escape_code_of_a_name_reaches_the_terminal(table: Callable[..., list[str]]) -> None:
    assert all(line.isprintable() for line in table("\x1b[2J.jpg", Headline("\x9b31m")))
