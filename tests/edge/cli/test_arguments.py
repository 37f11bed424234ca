"""What the command lines of all verbs share."""

from __future__ import annotations

import pytest

from dermedge import cli


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        (["predict", "photo.jpg", "--outptu", "a.csv"], "--output"),
        (["run", "--sorce=0"], "--source"),
        (["data", "catalogue", "photos", "--output", "a.csv", "--keep-part"], "--keep-parts"),
    ],
)
def test_a_mistyped_option_suggests_the_nearest(
    command: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(command) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"did you mean {meant}? See dermedge " in line


def test_an_option_like_no_other_suggests_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", "photo.jpg", "--qqqqq"]) == 2
    assert "did you mean" not in capsys.readouterr().err
