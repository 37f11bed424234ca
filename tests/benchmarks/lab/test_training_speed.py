"""Training beside the bare step: the summary, and one real pair of rounds of a small network."""

from __future__ import annotations

import pytest

from dermedge.benchmarks.lab import training_run, training_speed
from dermedge.benchmarks.lab.training_speed import SpeedRound, summary


def test_the_ratio_is_that_within_a_round_and_the_bar_is_of_its_median() -> None:
    # The ratios of the rounds are 0.8, 0.9 and 0.9, so their median is 0.9.
    # The ratio of the medians is 54 / 62.5 = 0.864.
    rounds = [SpeedRound(50, 62.5), SpeedRound(54, 60), SpeedRound(63, 70)]
    assert [one.share for one in rounds] == pytest.approx([0.8, 0.9, 0.9])
    training, bare, ratio, verdict = summary(rounds)
    assert training.split()[1] == "54.0"
    assert bare.split()[2] == "62.5"
    assert ratio.split()[1] == "0.900"
    assert verdict == "limit: at least 85% of the speed of the bare step: met, in 3 rounds"


def test_below_the_bar_the_summary_and_the_status_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = [SpeedRound(42, 50), SpeedRound(42.4, 50), SpeedRound(43, 50)]
    assert summary(rounds)[-1] == "limit: at least 85% of the speed of the bare step: not met, in 3 rounds"
    monkeypatch.setattr(training_speed, "call_in_child", lambda function, *arguments: rounds)
    assert training_speed.main([]) == 1
    monkeypatch.setattr(
        training_speed, "call_in_child", lambda function, *arguments: [SpeedRound(43, 50)] * 3
    )
    assert training_speed.main([]) == 0


def test_each_round_pairs_an_epoch_with_bare_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorflow")
    monkeypatch.setattr(training_run, "ARCHITECTURE", "cnn")
    monkeypatch.setattr(training_speed, "_PHOTO_SIDE", 32)
    rounds = training_speed.measure_rounds(2, 32, 4, 2)
    assert len(rounds) == 2
    assert all(one.training > 0 and one.bare > 0 for one in rounds)
