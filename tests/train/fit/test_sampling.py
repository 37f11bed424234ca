"""How often an epoch samples each photo, compared with shares computed by hand."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from dermedge.train.data.catalogue import Photo
from dermedge.train.fit.recipe import Recipe
from dermedge.train.fit.sampling import class_shares, label_indices, sample_balanced, sample_epoch


def photos(counts: dict[tuple[str, str], int]) -> list[Photo]:
    return [
        Photo(f"{label}{source}{index}", "", "", f"{label}{source}{index}", label, label, source)
        for (label, source), count in counts.items()
        for index in range(count)
    ]


# The square roots of 3, 500 and 20 are 1.732, 22.361 and 4.472.
UNEVEN = photos({("rare", "s1"): 3, ("common", "s1"): 500, ("common", "s2"): 20})


def times(some: list[Photo], count: int, recipe: Recipe | None = None, seed: int = 0) -> Counter[str]:
    indices = sample_epoch(some, count, np.random.default_rng(seed), recipe)
    return Counter(f"{some[index].label} {some[index].source}" for index in indices)


def test_by_default_classes_and_strata_come_by_the_root_of_their_size() -> None:
    # The classes have 3 and 520 photos, and are sampled in the ratio of 1.732 to 22.804. The strata of the
    # larger class are sampled in the ratio of 22.361 to 4.472.
    sampled = times(UNEVEN, 1000)
    assert sampled["rare s1"] in (70, 71)
    assert sampled["common s1"] in (774, 775)
    assert sampled["common s2"] in (154, 155)


@pytest.mark.parametrize(
    ("recipe", "rare", "small", "large"),
    [
        (Recipe(class_power=0), 500, 83.3, 416.7),
        (Recipe(class_power=1), 5.74, 165.7, 828.5),
        (Recipe(class_power=1, stratum_power=1), 5.74, 38.2, 956.0),
        (Recipe(class_power=0, stratum_power=0), 500, 250, 250),
        # The strata alone decide. They get 1.732, 4.472 and 22.361 of 28.565.
        (Recipe(classes_first=False), 60.6, 156.6, 782.8),
        (Recipe(classes_first=False, stratum_power=0), 333.3, 333.3, 333.3),
    ],
)
def test_powers_decide_on_the_shares(recipe: Recipe, rare: float, small: float, large: float) -> None:
    sampled = times(UNEVEN, 1000, recipe)
    for name, expected in (("rare s1", rare), ("common s2", small), ("common s1", large)):
        assert abs(sampled[name] - expected) <= 1, name
    shares = class_shares(UNEVEN, ("rare", "common"), recipe)
    assert shares == pytest.approx([rare / 1000, 1 - rare / 1000], abs=1e-3)
    assert shares.dtype == np.float32


def test_shares_are_in_the_order_of_the_classes() -> None:
    first = 3**0.5 / (3**0.5 + 520**0.5)
    assert class_shares(UNEVEN, ("rare", "common")) == pytest.approx([first, 1 - first])
    assert class_shares(UNEVEN, ("common", "rare")) == pytest.approx([1 - first, first])
    assert label_indices(UNEVEN, ("common", "rare")).tolist() == [1] * 3 + [0] * 520


def test_evenly_means_all_classes_alike_often() -> None:
    sampled = Counter(UNEVEN[index].label for index in sample_balanced(UNEVEN, 400, np.random.default_rng(0)))
    assert sampled == {"rare": 200, "common": 200}


def test_a_diagnosis_within_a_class_is_a_stratum_of_its_own() -> None:
    others = [replace(photo, diagnosis="d" if at < 4 else "e") for at, photo in enumerate(UNEVEN[3:503])]
    indices = sample_balanced([*UNEVEN[:3], *others], 400, np.random.default_rng(0))
    # This class gets 200 samples. Its strata share them in the ratio of the square roots of 4 and 496.
    assert abs(sum(3 <= index < 7 for index in indices) - 200 * 2 / (2 + 22.27)) < 1


def test_no_photo_comes_again_before_all_of_its_stratum_have_come() -> None:
    indices = sample_balanced(UNEVEN, 400, np.random.default_rng(0))
    counts = Counter(indices.tolist())
    assert {counts[index] for index in range(3)} <= {66, 67}
    assert max(counts[index] for index in range(3, 503)) == 1


def lesions() -> list[Photo]:
    """One lesion with 16 photos, and nine lesions with one photo each."""
    some = photos({("a", "s"): 25, ("b", "s"): 25})
    return [
        replace(photo, group=f"{photo.label}{max(0, index % 25 - 15)}") for index, photo in enumerate(some)
    ]


@pytest.mark.parametrize(
    ("power", "share"),
    [
        (1.0, 16 / 25),
        # 16 to the power of 0.5 is 4
        (0.5, 4 / 13),
        (0.0, 1 / 10),
    ],
)
def test_the_photos_of_a_lesion_share_its_weight(power: float, share: float) -> None:
    some = lesions()
    indices = sample_epoch(some, 2000, np.random.default_rng(0), Recipe(lesion_power=power))
    of_first = [index for index in indices if index < 25]
    assert len(of_first) == 1000
    assert abs(sum(index < 16 for index in of_first) - 1000 * share) <= 2
    each = Counter(of_first)
    within = [each[index] for index in range(16)]
    assert max(within) - min(within) <= 1
    others = [each[index] for index in range(16, 25)]
    assert max(others) - min(others) <= 1


def test_samples_come_in_random_order_and_again_for_the_same_seed() -> None:
    one, same, other = (sample_epoch(UNEVEN, 200, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    halves = [Counter(UNEVEN[index].source for index in half)["s2"] for half in (one[:100], one[100:])]
    assert min(halves) > 5
    assert len(one) <= 200


@pytest.mark.parametrize("count", [1, 2])
def test_an_epoch_of_few_photos_is_never_empty(count: int) -> None:
    sizes = [len(sample_epoch(UNEVEN, count, np.random.default_rng(seed))) for seed in range(200)]
    assert set(sizes) == set(range(1, count + 1))
    assert len(sample_epoch(UNEVEN, 0, np.random.default_rng(0))) == 0
