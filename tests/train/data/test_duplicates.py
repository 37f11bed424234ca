"""Finding copies of one image under any name."""

import csv
import mmap
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.edge.errors import StorageError
from dermedge.edge.photos import find_photo_files, read_picture
from dermedge.train.data import duplicate_candidates, duplicates, photo_prints
from dermedge.train.data.duplicates import Match, Prints, equal_files, near_duplicates, read_prints
from dermedge.train.data.groups import lowest_linked

Draw = Callable[[int], NDArray[np.uint8]]

COPIES = {
    "resized": lambda photo: cv2.resize(photo, (160, 120), interpolation=cv2.INTER_AREA),
    "enlarged": lambda photo: cv2.resize(photo, (800, 600)),
    "flipped": lambda photo: photo[:, ::-1],
    "turned": lambda photo: np.rot90(photo),
    "turned and flipped": lambda photo: np.rot90(photo, 3)[:, ::-1],
    "centre square": lambda photo: cv2.resize(photo[:, 50:350], (224, 224), interpolation=cv2.INTER_AREA),
    "squashed": lambda photo: cv2.resize(photo, (180, 180), interpolation=cv2.INTER_AREA),
    "brighter": lambda photo: cv2.convertScaleAbs(photo, alpha=1.1, beta=10),
    "darker": lambda photo: cv2.convertScaleAbs(photo, alpha=0.6),
    "cut at the sides": lambda photo: photo[3:-1, 4:-2],
    "blurred": lambda photo: cv2.GaussianBlur(photo, (0, 0), 2),
    "rotated": lambda photo: rotated(photo, 17),
    "rotated the other way": lambda photo: rotated(photo, -25),
    "rotated far": lambda photo: rotated(photo, 130),
    "overexposed": lambda photo: cv2.convertScaleAbs(photo, alpha=1.4, beta=20),
    "recoloured": lambda photo: photo[..., [2, 0, 1]],
    "cut to a third": lambda photo: photo[60:240, 40:270],
    "padded": lambda photo: cv2.copyMakeBorder(photo, 50, 50, 0, 0, cv2.BORDER_CONSTANT),
    "noisy": lambda photo: (photo + np.random.default_rng(0).normal(0, 8, photo.shape)).clip(0, 255),
    "augmented": lambda photo: augmented(photo, np.random.default_rng(1)),
}


def rotated(photo: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    height, width = photo.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(photo, turn, (width, height))


def augmented(photo: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A copy as augmentation tools export it.

    It may be mirrored, is rotated by 9 to 25 degrees, has other light, and is square.
    """
    turned = rotated(photo[:, :: rng.choice((1, -1))], rng.choice((1, -1)) * rng.uniform(9, 25))
    lit = cv2.convertScaleAbs(turned, alpha=rng.uniform(0.7, 1.3), beta=rng.uniform(-30, 30))
    return cv2.resize(lit, (320, 320))


def prints_of(folder: Path, pictures: dict[str, NDArray[np.uint8]]) -> Prints:
    folder.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        assert cv2.imwrite(str(folder / name), picture)
    return read_prints([folder / name for name in pictures])


@pytest.mark.parametrize("kind", COPIES)
def test_a_changed_copy_is_found_and_no_other_photo(tmp_path: Path, lesion: Draw, kind: str) -> None:
    photos = {f"{seed}.png": lesion(seed) for seed in range(8)}
    (match,) = near_duplicates(prints_of(tmp_path, photos | {"copy.png": COPIES[kind](photos["3.png"])}))
    assert (match.first, match.second) == (3, 8)
    assert match.turned == any(word in kind for word in ("flipped", "turned", "rotated", "augmented"))
    assert match.squashed == (kind in ("squashed", "augmented"))


def test_how_a_copy_is_turned_is_told(tmp_path: Path, lesion: Draw) -> None:
    photos = {"a.png": lesion(1), "b.png": rotated(lesion(1)[:, ::-1], 17)}
    (match,) = near_duplicates(prints_of(tmp_path, photos))
    assert match.mirrored
    # OpenCV rotates counterclockwise
    assert match.degrees == pytest.approx(-17, abs=1)


def test_each_of_many_copies_of_one_photo_is_found_without_comparing_all(
    tmp_path: Path, lesion: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicate_candidates, "MAX_CANDIDATES", 4)
    monkeypatch.setattr(duplicate_candidates, "MAX_UNCERTAIN", 4)
    rng = np.random.default_rng(0)
    copies = {f"copy{i:02d}.png": augmented(lesion(0), rng) for i in range(30)}
    others = {f"other{i}.png": lesion(i) for i in range(1, 5)}
    matches = near_duplicates(prints_of(tmp_path, copies | others))
    assert len(matches) <= 4 * 30
    linked = lowest_linked(34, [(match.first, match.second) for match in matches])
    assert linked == [0] * 30 + [30, 31, 32, 33]


@pytest.mark.slow
def test_an_augmented_export_of_real_photos_is_joined(real_data: Path, tmp_path: Path) -> None:
    originals = find_photo_files(real_data)[::300]
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{at:03d}_{version}.jpg" for at in range(len(originals)) for version in range(3)]
    for path in paths:
        cv2.imwrite(str(path), augmented(read_picture(originals[int(path.stem[:3])]), rng))
    matches = near_duplicates(read_prints(paths))
    linked = lowest_linked(len(paths), [(match.first, match.second) for match in matches])
    joined = sum(linked[at] == linked[at + 1] == linked[at + 2] for at in range(0, len(paths), 3))
    assert joined >= 0.95 * len(originals)


@pytest.mark.slow
def test_photos_of_milk10k_are_found_in_ham10000(real_data: Path) -> None:
    """A sample of the pairs that feature matching at full size found.

    They differ in brightness and crop, and in size by a factor of up to four.
    """
    with (Path(__file__).parent / "milk10k_in_ham10000.csv").open() as handle:
        pairs = [
            [real_data / source / "images" / f"{row[source]}.webp" for source in ("milk10k", "ham10000")]
            for row in csv.DictReader(handle)
        ]
    paths = sorted({path for pair in pairs for path in pair})
    found = {(paths[match.first], paths[match.second]) for match in near_duplicates(read_prints(paths))}
    assert sum((ham, milk) in found for milk, ham in pairs) >= 0.95 * len(pairs)


def test_a_copy_compressed_hard_is_found(tmp_path: Path, lesion: Draw) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), lesion(1))
    cv2.imwrite(str(tmp_path / "b.jpg"), lesion(1), [cv2.IMWRITE_JPEG_QUALITY, 30])
    assert len(near_duplicates(read_prints([tmp_path / "a.png", tmp_path / "b.jpg"]))) == 1


def test_a_squashed_picture_and_the_centre_of_the_original_are_one(tmp_path: Path, lesion: Draw) -> None:
    pictures = {"a.png": COPIES["squashed"](lesion(1)), "b.png": COPIES["centre square"](lesion(1))}
    (match,) = near_duplicates(prints_of(tmp_path, pictures))
    assert match.squashed


def test_plain_pictures_are_not_copies_of_one_another(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    plain = {f"{grey}.png": np.full((60, 80, 3), grey, np.uint8) for grey in (0, 1, 128, 255)}
    grainy = {f"grain{i}.png": rng.integers(0, 3, (300, 400, 3)).astype(np.uint8) for i in range(6)}
    assert near_duplicates(prints_of(tmp_path, plain | grainy)) == []


def test_the_black_rim_of_a_dermoscope_makes_no_copies(tmp_path: Path, lesion: Draw) -> None:
    rim = np.zeros((300, 400, 1), np.uint8)
    cv2.circle(rim, (200, 150), 145, 1, -1)
    assert near_duplicates(prints_of(tmp_path, {f"{i}.png": lesion(i) * rim for i in range(12)})) == []


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_the_margins_that_make_pictures_square_make_no_copies(
    tmp_path: Path, lesion: Draw, grey: int
) -> None:
    margin = {"borderType": cv2.BORDER_CONSTANT, "value": (grey, grey, grey)}
    squares = {f"{i}.png": cv2.copyMakeBorder(lesion(i), 50, 50, 0, 0, **margin) for i in range(12)}
    assert near_duplicates(prints_of(tmp_path, squares)) == []


def test_a_dark_thing_in_the_middle_is_what_the_picture_shows(tmp_path: Path) -> None:
    shirts = {}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        photo = cv2.resize(rng.integers(150, 256, (30, 40, 3)).astype(np.uint8), (400, 300))
        top, left, right = rng.integers(10, 90, 3)
        photo[top:, left + 30 : -right - 30] = 10
        shirts[f"{seed}.png"] = photo
    prints = prints_of(tmp_path, shirts | {"copy.png": shirts["1.png"][:, ::-1]})
    assert [(match.first, match.second) for match in near_duplicates(prints)] == [(1, 4)]


def test_equal_bytes_are_found_also_of_files_that_are_no_pictures(tmp_path: Path) -> None:
    for name, text in {"a.jpg": "x", "b.jpg": "y", "c.jpg": "x"}.items():
        (tmp_path / name).write_text(text)
    prints = read_prints([tmp_path / name for name in ("a.jpg", "b.jpg", "c.jpg")])
    assert equal_files(prints) == [[0, 2]]
    reasons = {at: why.partition(";")[0] for at, why in prints.unreadable.items()}
    assert reasons == dict.fromkeys(range(3), "not a photo that can be decoded (1 bytes)")
    assert near_duplicates(prints) == []


def test_what_cannot_be_read_is_kept_with_its_reason(tmp_path: Path, lesion: Draw) -> None:
    cv2.imwrite(str(tmp_path / "whole.jpg"), lesion(0))
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.jpg").touch()
    prints = read_prints([tmp_path / name for name in ("cut.jpg", "empty.jpg", "absent.jpg", "whole.jpg")])
    assert prints.unreadable[0].startswith("not a photo that can be decoded")
    assert prints.unreadable[1] == "the file is empty"
    assert prints.unreadable[2] == "No such file or directory"
    assert prints.sizes.tolist() == [[0, 0], [0, 0], [0, 0], [400, 300]]


def test_progress_ends_with_all(tmp_path: Path, lesion: Draw) -> None:
    steps: list[tuple[int, int]] = []
    prints = prints_of(tmp_path, {f"{seed}.png": lesion(seed) for seed in range(3)})
    near_duplicates(prints, lambda done, total: steps.append((done, total)))
    assert steps == [(3, 3)]
    assert near_duplicates(read_prints([])) == []


def test_copies_are_found_whatever_is_compared_at_once(
    tmp_path: Path, lesion: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [lesion(seed) for seed in range(9)]
    copies = [
        COPIES[kind](photos[at]) for at, kind in enumerate(("turned", "squashed", "flipped", "resized"))
    ]
    prints = prints_of(tmp_path, {f"{at:02d}.png": photo for at, photo in enumerate([*photos, *copies])})
    whole = near_duplicates(prints)
    assert [(match.first, match.second) for match in whole] == [(0, 9), (1, 10), (2, 11), (3, 12)]
    for photos_a_block, pairs_at_once in ((1, 1), (5, 2), (6, 4)):
        for module in (duplicates, duplicate_candidates):
            monkeypatch.setattr(module, "PHOTOS_A_BLOCK", photos_a_block)
        monkeypatch.setattr(duplicates, "PAIRS_AT_ONCE", pairs_at_once)
        steps: list[int] = []
        assert near_duplicates(prints, lambda done, total, steps=steps: steps.append(done)) == whole
        assert steps[-1] == 13
        assert len(steps) == -(-13 // photos_a_block)


def test_what_is_kept_of_a_photo_lies_in_a_file_without_a_name(tmp_path: Path, lesion: Draw) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), lesion(0))
    prints = read_prints([tmp_path / "a.png"], scratch=tmp_path / "cache")
    assert isinstance(prints.records.base, mmap.mmap)
    assert prints.records["count"][0] > 20
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("degrees", [9, 25, -17, 45, 133])
def test_a_rotated_and_brightened_duplicate_is_found(tmp_path: Path, lesion: Draw, degrees: float) -> None:
    photos = {f"{seed}.png": lesion(seed) for seed in range(8)}
    turn = cv2.getRotationMatrix2D((200, 150), degrees, 1.0)
    rotated = cv2.warpAffine(photos["3.png"], turn, (400, 300), borderMode=cv2.BORDER_REFLECT_101)
    brighter = cv2.convertScaleAbs(rotated, alpha=1.2, beta=15)
    (match,) = near_duplicates(prints_of(tmp_path, photos | {"duplicate.png": brighter}))
    assert (match.first, match.second) == (3, 8)
    assert match.degrees == pytest.approx(-degrees, abs=2)
    assert match.turned
    assert not match.mirrored
    assert not match.squashed


def test_every_augmented_duplicate_of_an_export_is_found(tmp_path: Path, lesion: Draw) -> None:
    """A copy as labelling tools export it: rotated, mirrored, cut, brightened and compressed at random."""
    rng = np.random.default_rng(0)
    photos, duplicated = {}, {}
    for seed in range(12):
        photo = photos[f"{seed:02d}.png"] = lesion(seed)
        turn = cv2.getRotationMatrix2D((200, 150), rng.uniform(-25, 25), rng.uniform(1, 1.25))
        changed = cv2.warpAffine(photo, turn, (400, 300), borderMode=cv2.BORDER_REFLECT_101)
        changed = changed[:, ::-1] if seed % 2 else changed
        duplicated[f"{seed:02d}.rf.jpg"] = cv2.convertScaleAbs(changed, alpha=rng.uniform(0.75, 1.25), beta=5)
    matches = near_duplicates(prints_of(tmp_path, photos | duplicated))
    found = {(match.first, match.second) for match in matches}
    assert found <= {(seed, seed + 12) for seed in range(12)}
    assert len(found) >= 11


def test_textures_that_cannot_be_written_are_one_line(tmp_path: Path, lesion: Draw) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), lesion(0))
    with pytest.raises(StorageError, match=r"cannot write .*a\.png"):
        read_prints([tmp_path / "a.png"], scratch=tmp_path / "a.png")


def test_links_join_over_any_number_of_steps() -> None:
    assert lowest_linked(6, [(5, 4), (1, 2), (4, 2)]) == [0, 1, 1, 3, 1, 1]


def real_ids(paths: list[Path], metadata: Path) -> tuple[list[str], list[str]]:
    """The image id and the lesion of every file."""
    lesions: dict[str, str] = {}
    for name, column in (("ISIC_2019_Training_Metadata", "image"), ("HAM10000_metadata", "image_id")):
        with (metadata / f"{name}.csv").open() as handle:
            for row in csv.DictReader(handle):
                if row["lesion_id"]:
                    lesions[row[column].removesuffix("_downsampled")] = row["lesion_id"]
    ids = [path.stem for path in paths]
    return ids, [lesions.get(one, one) for one in ids]


def sample_of(real_data: Path) -> list[Path]:
    """The files of every eighth id that two datasets share, and of every twentieth other id.

    All of them would take minutes.
    """
    files_of: dict[str, list[Path]] = defaultdict(list)
    for path in find_photo_files(real_data):
        files_of[path.stem].append(path)
    recurring = [one for one, files in sorted(files_of.items()) if len({path.parent for path in files}) > 1]
    single = [one for one, files in sorted(files_of.items()) if len(files) == 1]
    return sorted(path for one in (*recurring[::8], *single[::20]) for path in files_of[one])


def count_found(pairs: list[tuple[int, int]], matches: list[Match]) -> int:
    found = {(match.first, match.second) for match in matches}
    return sum(pair in found for pair in pairs)


@pytest.mark.slow
def test_real_copies_are_found_and_real_neighbours_are_not(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = sample_of(real_data)
    ids, lesions = real_ids(paths, real_data / "metadata")
    prints = read_prints(paths)
    matches = near_duplicates(prints)
    files_of: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(ids):
        files_of[one].append(index)
    sources = [path.relative_to(real_data).parts[0] for path in paths]
    pairs = [
        (first, second)
        for files in files_of.values()
        for position, first in enumerate(files)
        for second in files[position + 1 :]
    ]
    across = [(first, second) for first, second in pairs if sources[first] != sources[second]]
    others = [match for match in matches if ids[match.first] != ids[match.second]]
    strangers = [match for match in others if lesions[match.first] != lesions[match.second]]

    # The copies of real photos are augmented: they are mirrored, scaled to 96 pixels and compressed hard.
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(paths), 400, replace=False)
    copies = []
    for index in chosen:
        photo = read_picture(paths[index])
        scale = 96 / min(photo.shape[:2])
        small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        copies.append(tmp_path / f"{index}.jpg")
        cv2.imwrite(str(copies[-1]), small[:, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])
    both = near_duplicates(read_prints([*(paths[index] for index in chosen), *copies]))
    found = count_found([(index, index + 400) for index in range(400)], both)

    least = min(match.similarity for match in matches if (match.first, match.second) in set(across))
    with capsys.disabled():
        print(
            f"\n{len(paths)} files; "
            f"one id in two sets: {count_found(across, matches)} of {len(across)} found, "
            f"least similarity {least:.2f}; "
            f"under other ids: {len(others)}, of them {len(strangers)} across lesions; "
            f"mirrored, small and compressed: {found} of 400 found"
        )
    assert count_found(across, matches) >= 0.99 * len(across)
    # These are three pairs. Each was inspected, and shows one lesion under two names.
    assert len(strangers) <= 3
    assert len(others) >= 40
    assert found >= 0.97 * 400


def test_a_mirrored_keypoint_points_the_other_way() -> None:
    angles = np.array([0, 45, 90, 180, 300], np.float32)
    assert duplicate_candidates.mirrored_angles(angles).tolist() == [180, 135, 90, 0, 240]


def test_a_photo_is_made_smaller_by_averages() -> None:
    # Two squares of 4 x 4 pixels lie side by side. Only their first row is bright, and bilinear interpolation
    # would leave it out.
    square = np.zeros((4, 4), np.uint8)
    square[0] = 200
    smaller = photo_prints._shrunk(np.hstack([square, square]), 2)
    assert smaller.tolist() == [[50, 50]]
    assert photo_prints._shrunk(square, 4) is square


def test_the_map_between_two_photos_is_refined_where_they_overlap() -> None:
    rng = np.random.default_rng(0)
    scene = cv2.GaussianBlur(rng.integers(0, 256, (120, 160), dtype=np.uint8), (0, 0), 3)
    scene = cv2.normalize(scene, None, 0, 255, cv2.NORM_MINMAX)
    one = np.ascontiguousarray(scene[20:100, 30:130])
    # The first photo lies 30 pixels right and 20 pixels down in the second one. The given map is 1.5 pixels
    # off in both directions.
    given = np.array([[1, 0, 31.5], [0, 1, 18.5]], np.float32)
    refined = duplicates._refined(one, scene, given)
    assert np.abs(refined - [[1, 0, 30], [0, 1, 20]]).max() < 0.2


def test_a_match_counts_if_another_match_of_the_same_two_photos_turns_alike() -> None:
    # Windows of 15 degrees: a match needs another one of its pair in the same window or in a neighbouring one.
    pairs = np.array([7, 7, 7, 8, 8, 9, 9, 10, 11], np.uint64)
    turned = np.array([1, 359, 100, 20, 40, 20, 50, 200, 200], np.float32)
    alike = duplicate_candidates._turned_alike(pairs, turned)
    assert alike.tolist() == [True, True, False, True, True, False, False, False, False]


@pytest.mark.parametrize(("scale", "sigma"), [(0.5, 0.8660254), (0.8, 0.375), (0.25, 1.9364917)])
def test_the_finer_photo_is_blurred_to_the_resolution_of_the_other(
    scale: float, sigma: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blur of 0.5 pixels is assumed in the small photo; the finer one gets what it lacks: 0.5 sqrt(1 / s^2 - 1)."""
    blurs: list[float] = []
    monkeypatch.setattr(
        duplicates.cv2, "GaussianBlur", lambda image, size, sigma: blurs.append(float(sigma)) or image
    )
    monkeypatch.setattr(duplicates, "_similarity", lambda one, other, affine: (1.0, 100))
    photo = np.zeros((64, 64), np.uint8), np.ones((64, 64), np.uint8)
    duplicates._compared(photo, photo, np.array([[scale, 0, 0], [0, scale, 0]], np.float32))
    assert blurs == pytest.approx([sigma])


def test_two_matches_agree_within_a_distance_a_scale_and_a_rotation() -> None:
    # The second photo shows the first one at the same place, so the map of the first match is 1.
    def agreeing(at: complex, factor: complex) -> bool:
        first, second = np.array([0, 0, 1]), np.array([10, 10 + at, factor])
        return bool(duplicate_candidates.agree(first[:, None], second[:, None])[0])

    # The place may be 1.5 pixels off, and further 0.12 pixels for each pixel between the two features in the other
    # photo: 2.88 for the distance 11.5 and 3.12 for the distance 13.5.
    assert [agreeing(at, 1) for at in (2.9, 3.1)] == [True, False]
    # The scales may differ by a factor below e^0.5 = 1.6487, and the rotations by less than 30 degrees.
    assert [agreeing(0, factor) for factor in (1.64, 1.66, 1 / 1.64, 1 / 1.66)] == [True, False, True, False]
    turns = np.exp(1j * np.deg2rad([29.5, 30.5, -29.5, -30.5, 180]))
    assert [agreeing(0, turn) for turn in turns] == [True, False, True, False, False]


def test_a_code_is_also_looked_up_with_one_of_its_two_least_certain_signs_flipped() -> None:
    projected = np.full((2, 24), 5.0)
    projected[0, [3, 20]] = 0.5, -0.25
    projected[1] *= -1
    projected[1, [0, 23]] = 1, -2
    codes = duplicate_candidates._codes_nearby(projected)
    # bit n of a code is 1 if the projection n is positive
    every = 2**24 - 1
    own = every - 2**20
    assert codes[:, 0].tolist() == [own, 1]
    assert [set(row[1:].tolist()) for row in codes] == [{own - 2**3, every}, {0, 1 + 2**23}]


def test_the_border_of_a_photo_is_its_black_rim_and_four_pixels_more() -> None:
    rng = np.random.default_rng(0)
    photo = rng.integers(150, 250, (72, 96), dtype=np.uint8)
    assert photo_prints._inside_frame(photo).all()
    photo[:, :10] = photo[:, -7:] = 0
    expected = np.ones((72, 96), np.uint8)
    expected[:, :14] = expected[:, -11:] = 0
    assert photo_prints._inside_frame(photo).tolist() == expected.tolist()
