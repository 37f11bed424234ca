"""The recipe of a run: the settings of sampling, augmentation and targets, and which weights are kept."""

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
    """The least and the greatest value of a number, and whether it must be a whole one."""

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
    """The ranges and shares of the random changes of a training image.

    A range is sampled uniformly. A share is the part of the images that a change is applied to. A change is left out
    if its ranges do not change an image, or if its share is 0.

    Attributes:
        rotation_degrees: range of the rotation.
        zoom: range of the enlargement.
        shift: largest shift along each axis, as a part of the side.
        mirror_share: share of images that are mirrored left to right.
        exposure: range of the factor of all channels.
        gain: largest deviation of a colour channel's own factor from 1.
        contrast: range of the factor of the distance from mid-gray.
        saturation: range of the factor of the saturation.
        hue_degrees: largest turn of the hue.
        white_balance_share: share of images whose white balance is made neutral.
        shrink_share: share of images whose resolution is reduced: they are shrunk and enlarged again.
        shrink_pixels: smallest side, in pixels, that an image is shrunk to.
        blur_share: share of images that are blurred by a Gaussian.
        blur_sigma: range of its standard deviation in pixels.
        hair_share: share of images that hairs are drawn on.
        max_hairs: largest number of hairs in an image.
        patch_share: share of images in which a square is covered with one colour.
        patch: range of the square's side, as a part of the image's.
        jpeg_share: share of images that are compressed as JPEG.
        jpeg_quality: range of its quality, the upper end excluded.

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
    """The settings of a training that have no option of their own.

    The defaults are the recipe of all runs whose folder holds none, and must stay so.

    Attributes:
        class_power: a class is sampled by its number of photos to this power: 0 samples all classes equally often,
            1 as often as they are among the photos.
        stratum_power: the same for the strata of a class; a stratum is one diagnosis of one source.
        lesion_power: the same for the lesions of a stratum: 1 samples all photos equally often, 0 all lesions.
        classes_first: share the samples out among the classes and then among their strata; without it, among
            all strata only by ``stratum_power``.
        logit_adjustment: add the logarithm of each class's share of the samples to its logit in the loss.
        label_smoothing: part of each target that is spread evenly over all classes.
        mixup: parameter a of the distribution Beta(a, a) of the part that images are blended by; 0 for no
            blending.
        teacher_share: part of each target that comes from the teachers.
        train_batch_norms: train the batch norms of a network that starts from pretrained weights. A network
            without such weights always trains them.
        frozen_blocks: number of blocks of an EfficientNet-Lite, counted from the image, that stay as they start, with
            the stem. A step without their gradients is faster, because the maps of the first blocks are the largest.
        ema_decay: decay of the exponential moving average of the weights, which the float stage ends with; 0 to end
            with the last weights.
        augmentation: random changes of the images.

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
                f"two {bounds.kind}s from {bounds.ends}, in order",
            )


@cache
def _checks(made: Any) -> dict[str, tuple[Any, Any]]:
    """Returns field -> its type, and its bounds if it has any."""
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
    """Returns the recipe of a JSON file; a field that the file lacks keeps its default.

    Raises:
        OptionError: the file cannot be read, or holds an unknown field or a value out of bounds.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"cannot read the recipe '{path}': {error}") from error
    for kind, part, where in ((Recipe, values, "recipe"), (Augmentation, _part(values), "augmentation")):
        known = [one.name for one in fields(kind)]
        if not isinstance(part, dict):
            raise OptionError(
                f"the {where} of '{path}' must be a JSON object with fields of: {', '.join(known)}"
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
    """Returns the recipe of a JSON object; unknown fields are ignored, and missing ones have their defaults.

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
