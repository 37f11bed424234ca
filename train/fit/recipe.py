"""The recipe of a run: the settings of the sampling, the augmentation, the targets and the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

from dermedge.edge.errors import OptionError

__all__ = ["Augmentation", "Recipe", "read_recipe", "recipe_from_json"]

Values = TypeVar("Values", "Augmentation", "Recipe")


@dataclass(frozen=True)
class _Bounds:
    """The least and the greatest allowed value of a number, and whether only whole numbers are allowed."""

    least: float
    most: float
    whole: bool = False

    @property
    def kind(self) -> str:
        return "whole number" if self.whole else "number"

    @property
    def ends(self) -> str:
        return f"{self.least:g} to {self.most:g}"


Share = Annotated[float, _Bounds(0, 1)]
Factors = Annotated[tuple[float, float], _Bounds(0, 10)]


@dataclass(frozen=True)
class Augmentation:
    """The settings of the random changes of a training image.

    Each range is a pair (minimum, maximum). For each image, a value is sampled uniformly from the range. Each share is
    the fraction of the images to which a change is applied, 0 to 1. A change is skipped if its share is 0, or if its
    ranges allow only values that leave an image as it is.

    Attributes:
        rotation_degrees: range of the angle of the rotation, in degrees.
        zoom: range of the factor by which the image is enlarged.
        shift: largest shift along each axis, as a fraction of the width of the image.
        mirror_share: share of images that are mirrored left to right.
        exposure: range of the factor by which all channels are multiplied.
        gain: each colour channel is multiplied by a factor of its own. This is the largest difference between such a
            factor and 1.
        contrast: range of the factor by which the distance of each value from mid-gray is multiplied.
        saturation: range of the factor by which the saturation is multiplied.
        hue_degrees: largest turn of the hue in either direction, in degrees.
        white_balance_share: share of images whose white balance is made neutral.
        shrink_share: share of images that lose resolution, because they are shrunk and enlarged again.
        shrink_pixels: smallest width to which an image is shrunk, in pixels.
        blur_share: share of images that are blurred with a Gaussian kernel.
        blur_sigma: range of the standard deviation of the Gaussian kernel, in pixels.
        hair_share: share of images on which hairs are drawn.
        max_hairs: largest number of hairs on an image.
        patch_share: share of images in which a square is covered with one colour.
        patch: range of the width of the square, as a fraction of the width of the image.
        jpeg_share: share of images that are compressed as JPEG.
        jpeg_quality: range of the JPEG quality. The upper end of the range is excluded.

    Raises:
        OptionError: a value is out of its bounds.
    """

    rotation_degrees: Annotated[tuple[float, float], _Bounds(-360, 360)] = (0, 360)
    zoom: Annotated[tuple[float, float], _Bounds(0.1, 10)] = (0.75, 1.5)
    shift: Share = 0.1
    mirror_share: Share = 0.5
    exposure: Factors = (0.65, 1.2)
    gain: Share = 0.08
    contrast: Factors = (0.8, 1.25)
    saturation: Factors = (0.75, 1.25)
    hue_degrees: Annotated[float, _Bounds(0, 180)] = 6
    white_balance_share: Share = 0.0
    shrink_share: Share = 0.0
    shrink_pixels: Annotated[int, _Bounds(8, 1024, whole=True)] = 64
    blur_share: Share = 0.3
    blur_sigma: Annotated[tuple[float, float], _Bounds(0.01, 50)] = (0.3, 1.5)
    hair_share: Share = 0.2
    max_hairs: Annotated[int, _Bounds(1, 100, whole=True)] = 6
    patch_share: Share = 0.3
    patch: Annotated[tuple[float, float], _Bounds(0, 0.9)] = (0.1, 0.35)
    jpeg_share: Share = 0.2
    jpeg_quality: Annotated[tuple[int, int], _Bounds(1, 101, whole=True)] = (15, 70)

    def __post_init__(self) -> None:
        _check_bounds(self)


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run that have no command-line option of their own.

    The defaults must not change, because every older run whose folder contains no recipe was trained with them.

    Attributes:
        class_power: exponent p for classes. A class is sampled in proportion to its number of photos to the power p.
            With 0, all classes are sampled equally often. With 1, each class is sampled in proportion to its number of
            photos.
        stratum_power: exponent for the strata of a class. It works like ``class_power``. A stratum consists of the
            photos of one diagnosis from one source.
        lesion_power: exponent for the lesions of a stratum. It works like ``class_power``. With 0, all lesions are
            sampled equally often. With 1, all photos are sampled equally often.
        classes_first: whether the samples are divided among the classes first, and then among the strata of each class.
            If false, the samples are divided among all strata of all classes by ``stratum_power``, and ``class_power``
            is not used.
        logit_adjustment: whether the loss adds the logarithm of the share of each class among the samples to the logit
            of this class.
        label_smoothing: part of each target that is spread evenly over all classes.
        mixup: parameter a of the distribution Beta(a, a), from which the weights of two blended images are sampled.
            With 0, images are not blended.
        teacher_share: part of each target that comes from the teachers. A run without teachers does not use it.
        train_batch_norms: whether a network that starts from pretrained weights also trains its batch norms. A network
            that starts from random weights always trains its batch norms.
        frozen_blocks: number of blocks of an EfficientNet-Lite that are not trained, counted from the input. If it is
            above 0, the stem is not trained either, and a training step takes less time.
        ema_decay: decay of the exponential moving average of the weights. The float stage ends with the averaged
            weights. With 0, it ends with the weights of the last step.
        augmentation: settings of the random changes of the images.

    Raises:
        OptionError: a value is out of its bounds.
    """

    class_power: Share = 0.5
    stratum_power: Share = 0.5
    lesion_power: Share = 1.0
    classes_first: bool = True
    logit_adjustment: bool = True
    label_smoothing: Annotated[float, _Bounds(0, 0.5)] = 0.05
    mixup: Annotated[float, _Bounds(0, 10)] = 0.2
    teacher_share: Share = 0.5
    train_batch_norms: bool = False
    frozen_blocks: Annotated[int, _Bounds(0, 100, whole=True)] = 0
    ema_decay: Annotated[float, _Bounds(0, 0.9999)] = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        _check_bounds(self)


def _check_bounds(values: Augmentation | Recipe) -> None:
    made: Any = type(values)
    for name, (kind, bounds) in _checks(made).items():
        value = getattr(values, name)
        if kind is bool:
            _expect(isinstance(value, bool), name, value, "true or false")
        elif kind in (int, float):
            _expect(_is_within(value, bounds), name, value, f"a {bounds.kind} from {bounds.ends}")
        elif bounds:
            is_range = (
                isinstance(value, tuple) and len(value) == 2 and all(_is_within(v, bounds) for v in value)
            )
            _expect(
                is_range and value[0] <= value[1],
                name,
                value,
                f"two {bounds.kind}s from {bounds.ends}, the smaller one first",
            )


@cache
def _checks(made: Any) -> dict[str, tuple[Any, Any]]:
    """Returns a dict: name of a field -> (type of the field, bounds). The bounds of a field may be None."""
    hints = get_type_hints(made, include_extras=True).items()
    return {
        name: (getattr(hint, "__origin__", hint), next(iter(getattr(hint, "__metadata__", ())), None))
        for name, hint in hints
    }


def _is_within(value: Any, bounds: _Bounds) -> bool:
    kinds = (int,) if bounds.whole else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and bounds.least <= value <= bounds.most


def _expect(holds: bool, name: str, value: Any, expected: str) -> None:
    if not holds:
        raise OptionError(
            f"'{name}' of the recipe is {json.dumps(value, default=str)}; it must be {expected}"
        )


def read_recipe(path: Path) -> Recipe:
    """Returns the recipe in a JSON file. A field that is missing in the file has its default value.

    Raises:
        OptionError: the file cannot be read, is not valid JSON, or contains an unknown field or a value out of bounds.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise OptionError(f"cannot read the recipe '{path}' ({error}); give a JSON file") from error
    for kind, part, where in ((Recipe, values, "recipe"), (Augmentation, _part(values), "augmentation")):
        known = [one.name for one in fields(kind)]
        if not isinstance(part, dict):
            raise OptionError(
                f"the {where} of '{path}' must be a JSON object with some of these fields: {', '.join(known)}"
            )
        unknown = sorted(set(part) - set(known))
        if unknown:
            raise OptionError(
                f"'{unknown[0]}' in '{path}' is not a field of the {where}. Known: {', '.join(known)}"
            )
    return recipe_from_json(values)


def _part(values: Any) -> Any:
    return values.get("augmentation", {}) if isinstance(values, dict) else {}


def recipe_from_json(values: Mapping[str, Any]) -> Recipe:
    """Returns the recipe in a JSON object. Unknown fields are ignored. Missing fields have their default values.

    Raises:
        OptionError: a value is out of its bounds.
    """
    augmentation = _build(Augmentation, values.get("augmentation", {}))
    return _build(Recipe, {**values, "augmentation": augmentation})


def _build(kind: type[Values], values: Mapping[str, Any]) -> Values:
    names = {one.name for one in fields(kind)}
    known: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in values.items()
        if key in names
    }
    return kind(**known)
