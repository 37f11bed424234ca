"""A run starts from another run of any size, but not from one that was trained on its held-out photos."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from dermedge import cli
from dermedge.train.fit.run_folder import RunFolder
from dermedge.train.fit.run_networks import start_network, trained_network


def test_a_run_starts_with_the_weights_of_another_at_a_larger_size(
    labelled_set: Path, tmp_path: Path
) -> None:
    origin, run = tmp_path / "small", tmp_path / "large"
    options = "--arch mobilenet_v2 --epochs 1 --qat-epochs 0 --batch 12 --photos-per-epoch 12"
    start = f"train --data {labelled_set} --weights none --imgsz 32 --output {origin} {options}"
    assert cli.main(start.split()) == 0
    go_on = f"train --data {labelled_set} --weights {origin} --imgsz 64 --output {run} {options}"
    assert cli.main(go_on.split()) == 0
    small = trained_network(RunFolder(origin), "float").get_weights()
    begun = start_network(RunFolder(run).config()).get_weights()
    trained = trained_network(RunFolder(run), "float").get_weights()
    assert all(np.array_equal(one, other) for one, other in zip(small, begun, strict=True))
    assert any(not np.array_equal(one, other) for one, other in zip(begun, trained, strict=True))


def test_a_run_starts_with_the_mean_of_the_weights_of_several(
    trained_run: Path, labelled_set: Path, tmp_path: Path
) -> None:
    other, run, refit = tmp_path / "other", tmp_path / "run", tmp_path / "refit"
    train = f"train --data {labelled_set} --arch cnn --imgsz 32 --qat-epochs 0 --batch 12".split()
    assert cli.main([*train, "--epochs", "1", "--output", str(other)]) == 0
    starts = ["--weights", str(trained_run), str(other)]
    assert cli.main([*train, *starts, "--epochs", "0", "--output", str(run)]) == 0
    assert cli.main(["train", "--refit", str(other), *starts, "--output", str(refit)]) == 0
    first, second, mean = (
        trained_network(RunFolder(one), "float").get_weights() for one in (trained_run, other, run)
    )
    begun = start_network(RunFolder(refit).config()).get_weights()
    assert any(not np.array_equal(one, two) for one, two in zip(first, second, strict=True))
    for one, two, half, start in zip(first, second, mean, begun, strict=True):
        np.testing.assert_allclose(half, (one + two) / 2, atol=1e-6)
        np.testing.assert_array_equal(half, start)


def test_the_int8_stage_of_a_finished_run_is_a_run_without_float_epochs(
    trained_run: Path, labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    train = f"train --data {labelled_set} --arch cnn --imgsz 32 --weights {trained_run} --epochs 0 --batch 12"
    assert cli.main([*train.split(), "--qat-epochs", "1", "--output", str(run)]) == 0
    assert "initial weights  val loss" in capsys.readouterr().out
    assert [row["stage"] for row in RunFolder(run).history()] == ["qat"]
    assert RunFolder(run).weights_path("qat").is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--weights", "{run}", "nowhere"], "'nowhere' of --weights is not a run folder"),
        (["--weights", "imagenet", "{run}"], "'imagenet' of --weights is not a run folder"),
        (["--seed", "1"], "in the validation or test split of this run"),
        (["--classes", "red,blue"], "which differ from those of this run"),
        (["--arch", "mobilenet_v2"], "has the architecture cnn"),
        (["--imgsz", "48"], "was trained with an input of 32 pixels"),
        (["--epochs", "-1"], "'-1' is not a whole number of 0 or more"),
    ],
)
def test_a_start_that_does_not_fit_is_refused_before_anything_is_made(
    trained_run: Path,
    labelled_set: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    run = tmp_path / "run"
    command = f"train --data {labelled_set} --weights {trained_run} --output {run}"
    known = ["--arch", "cnn", "--imgsz", "32", "--epochs", "1", "--qat-epochs", "0"]
    given = [option.format(run=trained_run) for option in options]
    assert cli.main([*command.split(), *known, *given]) == 2
    assert said in capsys.readouterr().err
    assert not run.exists()
