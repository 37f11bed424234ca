"""How photos are found, decoded and encoded, and what is refused before memory is taken for it."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from dermedge.edge.errors import PictureError, SourceError
from dermedge.edge.photos import decode_photo, encode_image, find_photo_files, is_photo_file, read_picture

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".jpg", b"\xff\xd8")])
def test_an_image_is_encoded_as_its_suffix_says(suffix: str, magic: bytes) -> None:
    assert encode_image(IMAGE, suffix).startswith(magic)


def test_png_keeps_each_pixel(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(encode_image(IMAGE, path.suffix))
    assert np.array_equal(read_picture(path), IMAGE)


def test_jpeg_of_a_lower_quality_is_smaller() -> None:
    assert len(encode_image(IMAGE, ".jpg", 20)) < len(encode_image(IMAGE, ".jpg", 90))


def png_that_claims(width: int, height: int, rows: bytes = b"") -> bytes:
    """Returns a grayscale PNG with this header and these rows. The header may promise another number of rows."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_header_that_claims_too_much_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_that_claims(40_000, 40_000))
    assert path.stat().st_size < 80
    with pytest.raises(
        PictureError, match=r"'.*bomb\.png' claims more than 120 million pixels; make the photo smaller"
    ):
        read_picture(path)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is told by Linux")
def test_a_large_photo_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    # the file has 0.4 MB, but its 400 million black pixels would take 1.2 GB when they are decoded
    path.write_bytes(png_that_claims(20_000, 20_000, bytes(20_001) * 20_000))
    code = (
        "import sys; from dermedge.edge.errors import PictureError; from dermedge import read_picture\n"
        "try: read_picture(sys.argv[1])\n"
        "except PictureError as error: print(error)\n"
        "[peak] = [line for line in open('/proc/self/status') if line.startswith('VmHWM')]\n"
        "print(int(peak.split()[1]) // 1024)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENCV_IO_MAX_IMAGE_PIXELS"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], env=environment, capture_output=True, text=True, check=True
    )
    said, megabytes = done.stdout.splitlines()
    assert "more than 120 million pixels" in said
    assert int(megabytes) < 400


def test_a_file_with_more_bytes_than_any_photo_is_refused_before_memory_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENCV_IO_MAX_IMAGE_PIXELS", "120000000")
    path = tmp_path / "slide.tif"
    with path.open("wb") as handle:
        handle.truncate(20_000_000_000)
    with pytest.raises(
        PictureError, match=r"slide\.tif' has 20\.0 GB, which is too much for a photo; make the photo sm"
    ):
        read_picture(path)


def test_a_truncated_png_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(encode_image(IMAGE, ".png")[:60])
    with pytest.raises(PictureError, match="is not a photo that can be decoded"):
        read_picture(path)


@pytest.mark.parametrize(
    "suffix", [".jfif", ".jpe", ".mpo", ".JPG", ".avif", ".gif", ".jp2", ".webp", ".tiff", ".bmp"]
)
def test_a_photo_of_every_suffix_is_read(suffix: str, tmp_path: Path) -> None:
    encoder = {".jfif": ".jpg", ".jpe": ".jpg", ".mpo": ".jpg"}.get(suffix, suffix.lower())
    image = np.full((32, 48, 3), (40, 120, 200), np.uint8)
    try:
        content = encode_image(image, encoder)
    except cv2.error:
        pytest.skip(f"this OpenCV does not know {encoder}")
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(content)
    assert is_photo_file(path)
    # a GIF has a palette of at most 256 colours, so its pixels may differ more
    assert np.abs(read_picture(path).astype(int) - image).max() <= (50 if encoder == ".gif" else 8)


def test_a_photo_of_an_iphone_is_read_and_blue_comes_first() -> None:
    pytest.importorskip("pi_heif")
    image = read_picture(Path(__file__).with_name("photo.heic")).astype(int)
    assert image.shape == (48, 64, 3)
    # The photo was drawn green at the left, red at the upper right and blue at the lower right. The colours below are
    # (B, G, R).
    for row, column, colour in ((24, 8, (60, 180, 40)), (10, 45, (40, 40, 200)), (38, 45, (190, 60, 30))):
        assert np.abs(image[row, column] - colour).max() <= 25


class FreedPhoto:
    """A HEIC photo whose memory gets other contents as soon as pi-heif frees the photo."""

    def __init__(self) -> None:
        self.size = (3, 1)
        self._pixels = np.full((1, 3, 3), (10, 20, 30), np.uint8)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._pixels.copy() if copy else self._pixels

    def __del__(self) -> None:
        self._pixels[...] = 0


def test_the_pixels_of_a_photo_of_an_iphone_outlive_the_photo_of_pi_heif(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", SimpleNamespace(open_heif=lambda _, bgr_mode: FreedPhoto()))
    image = decode_photo(np.frombuffer(b"1234ftypheic5678", np.uint8), "a.heic")
    assert image.tolist() == [[[10, 20, 30]] * 3]


@pytest.mark.parametrize(
    "grey", [np.array([[0, 77, 255]], np.uint8), np.array([[0, 77, 255]], np.uint16) * 256]
)
def test_a_grey_photo_of_an_iphone_becomes_colour(
    grey: np.ndarray[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class GreyPhoto(HeifPhoto):
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
            return grey

    monkeypatch.setitem(
        sys.modules, "pi_heif", SimpleNamespace(open_heif=lambda content, bgr_mode: GreyPhoto(3, 1))
    )
    image = decode_photo(np.frombuffer(b"1234ftypheic5678", np.uint8), "a.heic")
    assert image.tolist() == [[[0, 0, 0], [77, 77, 77], [255, 255, 255]]]
    assert image.dtype == np.uint8


def test_an_avif_photo_may_begin_with_the_brand_of_a_heic_photo() -> None:
    image = np.full((32, 48, 3), (40, 120, 200), np.uint8)
    try:
        content = encode_image(image, ".avif")
    except cv2.error:
        pytest.skip("this OpenCV does not know .avif")
    for brand in (b"mif1", b"msf1"):
        renamed = np.frombuffer(content[:8] + brand + content[12:], np.uint8)
        assert np.abs(decode_photo(renamed, "a.avif").astype(int) - image).max() <= 8


def tiff(order: str, following: int = 0, **changed: int) -> np.ndarray[Any, Any]:
    """Returns a TIFF file of 8 x 8 grey pixels.

    Args:
        order: the byte order, as the module `struct` denotes it.
        following: the address of the next image in the file. 0 stands for none.
        changed: the values of tags, such as ``tag_259``.
    """
    tags = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: 8, 279: 64}
    tags |= {int(name.removeprefix("tag_")): value for name, value in changed.items()}
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    entries = (struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    directory = header + b"".join(entries) + struct.pack(f"{order}I", following)
    return np.frombuffer(directory.ljust(200, b"\0") + bytes([200]) * 64, np.uint8)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("others", [{"tag_330": 8}, {"following": 8}])
def test_a_tiff_that_begins_with_a_thumbnail_is_an_error(order: str, others: dict[str, int]) -> None:
    assert decode_photo(tiff(order, **others), "a.tif").tolist() == [[[200] * 3] * 8] * 8
    with pytest.raises(
        PictureError, match=r"a\.dng' is not a photo .*it begins with a thumbnail, as raw files do"
    ):
        decode_photo(tiff(order, tag_254=1, **others), "a.dng")


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_only_image_of_a_tiff_is_its_photo(order: str) -> None:
    """If a program copies a thumbnail into a file of its own, the image can still be marked as a thumbnail."""
    assert decode_photo(tiff(order, tag_254=1), "a.tif").tolist() == [[[200] * 3] * 8] * 8


def test_a_tiff_whose_compression_is_unknown_is_an_error() -> None:
    with pytest.raises(PictureError, match="each pixel is black, or its compression is unknown"):
        decode_photo(tiff("<", tag_259=34712), "a.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_avif_photo_is_rotated_and_mirrored_as_a_jpeg_is(orientation: int, tmp_path: Path) -> None:
    pil_image = pytest.importorskip("PIL.Image")
    exif = pil_image.Exif()
    exif[0x112] = orientation
    stored = pil_image.new("RGB", (64, 32), (40, 120, 200))
    stored.paste((250, 250, 250), (0, 0, 32, 16))
    try:
        for suffix in ("avif", "jpg"):
            stored.save(tmp_path / f"a.{suffix}", quality=95, exif=exif.tobytes())
    except (OSError, KeyError):
        pytest.skip("this Pillow does not write AVIF")
    avif, jpeg = (read_picture(tmp_path / f"a.{suffix}").astype(int) for suffix in ("avif", "jpg"))
    assert avif.shape == jpeg.shape
    assert np.abs(avif - jpeg).mean() <= 3


def test_without_its_package_a_photo_of_an_iphone_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(PictureError, match=r"is a HEIC photo, which needs the package pi-heif; .*install"):
        read_picture(Path(__file__).with_name("photo.heic"))


def test_a_damaged_photo_of_an_iphone_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    path = tmp_path / "cut.heic"
    path.write_bytes(Path(__file__).with_name("photo.heic").read_bytes()[:300])
    with pytest.raises(PictureError, match=r"'.*cut\.heic' is not a photo that can be decoded"):
        read_picture(path)


def test_links_are_followed_never_in_a_circle_and_system_folders_are_left_out(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "photos"
    for place in (elsewhere, folder, folder / ".ipynb_checkpoints", folder / "@eaDir", folder / "__MACOSX"):
        place.mkdir()
        (place / "a.png").write_bytes(encode_image(IMAGE, ".png"))
    (folder / "linked").symlink_to(elsewhere)
    (folder / "circle").symlink_to(folder)
    (folder / "notes.txt").write_text("")
    (folder / "a.png.explained.png").write_bytes(
        encode_image(IMAGE, ".png")
    )  # files with this ending are copies that predict --explain writes
    assert find_photo_files(folder) == [folder / "a.png", folder / "linked" / "a.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_without_permission_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(SourceError, match=r"cannot read the folder '.*closed'"):
        find_photo_files(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_an_error_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "photo.jpg")
    with pytest.raises(PictureError, match="not a regular file"):
        read_picture(tmp_path / "photo.jpg")


def test_opencv_prints_nothing_about_a_damaged_photo(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    encoded = encode_image(np.full((64, 64, 3), 90, np.uint8), ".tif")
    (tmp_path / "photo.tif").write_bytes(encoded[: len(encoded) // 2])
    with pytest.raises(PictureError):
        read_picture(tmp_path / "photo.tif")
    assert capfd.readouterr().err == ""


class HeifPhoto:
    """A HEIC photo as pi-heif opens it. It states the size that the test sets, but has only a few pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.full((2, 3, 4), (10, 20, 30, 255), np.uint8)


@pytest.mark.parametrize(("limit", "pixels"), [("5", 5), ("2kb", 2 << 10), ("3MB", 3 << 20)])
def test_the_limit_of_pixels_may_have_a_unit_as_opencv_allows(
    limit: str, pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENCV_IO_MAX_IMAGE_PIXELS", limit)
    content = np.frombuffer(b"1234ftypheic5678", np.uint8)
    for width, is_read in ((pixels, True), (pixels + 1, False)):
        photo = HeifPhoto(width, 1)
        module = SimpleNamespace(open_heif=lambda content, bgr_mode, photo=photo: photo)
        monkeypatch.setitem(sys.modules, "pi_heif", module)
        with nullcontext() if is_read else pytest.raises(PictureError, match="claims more than"):
            decode_photo(content, "a.heic")


@pytest.mark.parametrize(("size", "is_read"), [((12_000, 10_000), True), ((10_000, 12_001), False)])
def test_a_heic_photo_has_the_limit_of_pixels_of_any_other(
    size: tuple[int, int], is_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def open_heif(content: bytes, **options: Any) -> HeifPhoto:
        asked.append(options)
        return HeifPhoto(*size)

    monkeypatch.setitem(sys.modules, "pi_heif", SimpleNamespace(open_heif=open_heif))
    monkeypatch.setenv("OPENCV_IO_MAX_IMAGE_PIXELS", "120000000")
    content = np.frombuffer(b"1234ftypheic5678", np.uint8)
    if is_read:
        image = decode_photo(content, "a.heic")
        assert image.tolist() == np.full((2, 3, 3), (10, 20, 30)).tolist()
        assert asked == [{"bgr_mode": True}]
    else:
        with pytest.raises(PictureError, match=r"'a\.heic' claims more than 120 million pixels"):
            decode_photo(content, "a.heic")


def test_a_jpeg_has_the_quality_95_unless_another_is_asked_for() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    for suffix in (".jpg", ".JPEG"):
        for options, quality in (((), 95), ((40,), 40)):
            expected = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
            assert encode_image(image, suffix, *options) == expected
    assert np.array_equal(
        cv2.imdecode(np.frombuffer(encode_image(image, ".png"), np.uint8), cv2.IMREAD_COLOR), image
    )
