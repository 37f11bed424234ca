"""The models that ship, by name."""

import errno
from pathlib import Path

import pytest

from dermedge.edge.errors import ModelError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.golden import replay
from dermedge.edge.model.runtime import choose_runtime
from dermedge.edge.model.shipped import (
    DEFAULT_MODEL,
    FAST_MODEL,
    SHIPPED,
    model_argument,
    model_path,
    require_model_file,
)
from dermedge.edge.model.tuning import tuned


@pytest.mark.parametrize("path", SHIPPED.values(), ids=SHIPPED)
def test_a_shipped_model_is_small_declines_and_alerts(path: Path) -> None:
    assert path.stat().st_size <= 3_000_000
    with Classifier(path) as classifier:
        assert classifier.labels[:4] == ("melanoma", "dermatofibroma", "nevus", "squamous cell carcinoma")
        assert classifier.calibration.thresholds["alert"]["label"] == "melanoma"
        assert 0 < classifier.calibration.thresholds["none"] < 1
        assert classifier.has_heat_map
        assert classifier.has_prediction_sets


def test_a_model_that_ships_goes_by_its_name_and_others_by_their_path() -> None:
    assert model_path(FAST_MODEL.stem) == FAST_MODEL
    assert model_path(DEFAULT_MODEL.stem) == DEFAULT_MODEL
    assert model_path("other.tflite") == Path("other.tflite")
    for argument in (FAST_MODEL.stem, "other.tflite"):
        assert model_argument(model_path(argument)) == argument


def test_a_model_whose_path_cannot_be_read_is_one_line_about_reading() -> None:
    # from Python 3.14 on, Path.is_file returns False for a name that is too long
    with pytest.raises(ModelError, match=r"cannot read the model|does not exist"):
        require_model_file(Path("x" * 300))


def test_a_folder_in_place_of_a_model_is_named_as_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="' is a folder and not a model; give a"):
        require_model_file(tmp_path)


def test_a_model_without_permission_is_one_line_about_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "closed.tflite"
    path.write_bytes(b"")

    def refuse(*given: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    # root may read every file, so the test makes the opening fail
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ModelError, match=r"cannot read the model '.*closed.tflite': Permission denied"):
        tuned(path)


@pytest.mark.skipif(choose_runtime() != "litert", reason="the kernels of tflite-runtime are some levels off")
@pytest.mark.parametrize("path", SHIPPED.values(), ids=SHIPPED)
def test_a_shipped_model_answers_here_to_the_level_as_where_it_was_converted(path: Path) -> None:
    found = replay(path)
    assert found is not None
    assert found.passed, found
    assert found.other_class == 0
