"""The input of a training step."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from dermedge.edge.errors import PictureError
from dermedge.edge.photos import read_picture
from dermedge.edge.preprocess import to_input
from dermedge.train.data.catalogue import Photo
from dermedge.train.data.pixels import cached_pixels, release_pages

pytest.importorskip("tf_keras")

from dermedge.train.fit.batches import Teacher, TrainingBatches
from dermedge.train.fit.recipe import Augmentation, Recipe

LABEL_SMOOTHING, TEACHER_SHARE = 0.05, 0.25


def photos(counts: dict[tuple[str, str], int]) -> list[Photo]:
    return [
        Photo(f"{label}{source}{index}", "", "", "", label, label, source)
        for (label, source), count in counts.items()
        for index in range(count)
    ]


UNEVEN = photos({("rare", "s1"): 3, ("common", "s1"): 500, ("common", "s2"): 20})


def batches(epoch: int, teacher: Teacher | None = None, recipe: Recipe | None = None) -> TrainingBatches:
    pixels = np.random.default_rng(1).integers(0, 256, (len(UNEVEN), 16, 16, 3), dtype=np.uint8)
    return TrainingBatches(
        pixels,
        UNEVEN,
        ("common", "rare"),
        batch_size=8,
        photos_per_epoch=40,
        seed=3,
        epoch=epoch,
        teacher=teacher,
        recipe=recipe,
    )


def test_equal_seeds_and_epochs_give_equal_batches_and_other_epochs_others() -> None:
    (x, y), (again_x, again_y), (other_x, _) = batches(2)[4], batches(2)[4], batches(3)[4]
    assert np.array_equal(x, again_x)
    assert np.array_equal(y, again_y)
    assert not np.array_equal(x, other_x)
    assert len(batches(2)) == 5
    assert x.dtype == np.float32
    assert x.shape == (8, 16, 16, 3)
    assert -1.01 < x.min() < x.max() < 1


def test_cached_pixels_are_what_the_device_sees(labelled_set: Path, tmp_path: Path) -> None:
    paths = sorted(labelled_set.rglob("*.png"))[:5]
    pixels = cached_pixels(paths, 32, tmp_path)
    assert all(
        np.array_equal(row, to_input(read_picture(path), 32)) for row, path in zip(pixels, paths, strict=True)
    )
    assert isinstance(pixels, np.memmap)


def test_reading_all_pictures_does_not_hold_them_in_memory(tmp_path: Path) -> None:
    count, size = 2000, 64
    path = tmp_path / "pixels.npy"
    np.save(path, np.zeros((count, size, size, 3), np.uint8))
    pixels = np.load(path, mmap_mode="r")
    some = photos({("a", "s1"): count})
    fed = TrainingBatches(pixels, some, ["a"], batch_size=100, photos_per_epoch=count, seed=0, epoch=0)
    assert mapped_bytes(path) == 0
    for batch in range(len(fed)):
        fed[batch]
    assert mapped_bytes(path) < 0.1 * pixels.nbytes
    pixels.max()
    assert mapped_bytes(path) == pytest.approx(pixels.nbytes, rel=0.1)
    release_pages(pixels)
    assert mapped_bytes(path) == 0
    assert pixels.max() == 0


def mapped_bytes(path: Path) -> int:
    """The part of a mapped file that counts as memory of this process."""
    smaps = Path("/proc/self/smaps")
    if not smaps.is_file():
        pytest.skip("this system does not tell what is resident of a mapped file")
    _, _, after = smaps.read_text().partition(str(path))
    return int(re.search(r"^Rss:\s+(\d+) kB", after, re.MULTILINE).group(1)) * 1024


def test_a_changed_photo_is_decoded_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((40, 40, 3), np.uint8))
    assert cached_pixels([path], 32, tmp_path / "cache").max() == 0
    cv2.imwrite(str(path), np.full((41, 41, 3), 9, np.uint8))
    assert cached_pixels([path], 32, tmp_path / "cache").min() == 9


def test_an_unreadable_photo_is_named_and_no_half_cache_is_left(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    with pytest.raises(PictureError, match=r"bad\.jpg"):
        cached_pixels([bad], 32, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_pictures_and_labels_are_blended_alike_and_mixed_with_what_the_teacher_says() -> None:
    alone = batches(0)
    blended, wanted = alone[0]
    chosen = alone.order[:8]
    assert wanted.shape == (8, 2)
    assert wanted.dtype == np.float32
    assert np.allclose(wanted.sum(axis=1), 1)
    assert np.array_equal(wanted.argmax(axis=1), alone.labels[chosen]), "at least half is the picture's own"
    shown = []

    def teacher(pictures: np.ndarray) -> np.ndarray:
        shown.append(pictures)
        return np.full((len(pictures), 2), 0.5, np.float32)

    taught = batches(0, teacher, Recipe(teacher_share=TEACHER_SHARE))
    pictures, mixed = taught[0]
    assert np.array_equal(pictures, blended)
    assert np.array_equal(shown[0], blended), "the teacher sees what the student sees"
    # The teacher's probabilities hold for equal shares. Here they are adjusted to the shares of the samples.
    assert np.allclose(mixed, (1 - TEACHER_SHARE) * wanted + TEACHER_SHARE * alone.shares)


def test_images_and_targets_are_blended_with_the_same_share_of_the_same_photo() -> None:
    how = Augmentation(
        rotation_degrees=(0, 0),
        zoom=(1, 1),
        shift=0,
        mirror_share=0,
        exposure=(1, 1),
        gain=0,
        contrast=(1, 1),
        saturation=(1, 1),
        hue_degrees=0,
        blur_share=0,
        hair_share=0,
        patch_share=0,
        jpeg_share=0,
    )
    two = photos({("black", "s"): 20, ("white", "s"): 20})
    pixels = np.repeat([0, 255], 20).astype(np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    recipe = Recipe(mixup=1.0, label_smoothing=0.0, augmentation=how)
    fed = TrainingBatches(
        pixels, two, ("black", "white"), batch_size=8, photos_per_epoch=40, seed=0, epoch=0, recipe=recipe
    )
    blends = []
    for batch in range(len(fed)):
        images, targets = fed[batch]
        # Black is (0 - 128) / 127.5, and white is (255 - 128) / 127.5.
        whiteness = (images[:, 0, 0, 0] * 127.5 + 128) / 255
        assert np.allclose(targets[:, 1], whiteness, atol=1e-6)
        blends += [value for value in targets[:, 1].tolist() if 0.01 < value < 0.99]
    assert len(blends) > 5, "some images are blends of both"


def test_the_default_recipe_gives_the_batches_that_runs_without_a_recipe_were_trained_on() -> None:
    expected = np.load(Path(__file__).with_name("default_batch.npz"))
    fed = batches(0)
    images, targets = fed[2]
    assert np.array_equal(fed.order, expected["order"])
    assert np.allclose(targets, expected["targets"], atol=1e-6)
    # The tolerance is one level of 255, because another version of OpenCV may round differently.
    assert np.quantile(np.abs(images - expected["images"]), 0.98) <= 1.01 / 127.5


def test_without_blending_labels_are_only_smoothed() -> None:
    alone = batches(0, recipe=Recipe(mixup=0))
    _, wanted = alone[0]
    assert np.allclose(wanted.max(axis=1), 1 - LABEL_SMOOTHING / 2)


@pytest.mark.parametrize(
    ("sampled", "batch_size", "sizes"), [(40, 8, [8] * 5), (39, 8, [8] * 4), (5, 8, [5])]
)
def test_a_last_batch_that_is_not_full_is_left_out_unless_it_is_the_only_one(
    sampled: int, batch_size: int, sizes: list[int]
) -> None:
    some = photos({("a", "s"): 20, ("b", "s"): 20})
    pixels = np.zeros((40, 8, 8, 3), np.uint8)
    fed = TrainingBatches(
        pixels, some, ("a", "b"), batch_size=batch_size, photos_per_epoch=sampled, seed=0, epoch=0
    )
    assert sampled - 1 <= len(fed.order) <= sampled
    expected = sizes if len(sizes) > 1 else [len(fed.order)]
    assert [len(fed[batch][0]) for batch in range(len(fed))] == expected
    assert fed.photos == sum(expected)
