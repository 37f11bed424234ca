"""An associated file is found again, leaves the manifest and the network alone, and a bomb is not unpacked."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from dermedge.edge.errors import ModelError
from dermedge.edge.model.associated import MOST_BYTES, attach_file, read_associated
from dermedge.edge.model.manifest import read_manifest, strip


def test_what_was_attached_is_read_and_all_else_is_as_before(model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(attach_file(model_path.read_bytes(), "notes.bin", b"\x00\x01notes"))
    assert read_associated(path, "notes.bin") == b"\x00\x01notes"
    assert read_associated(path, "other.bin") is None
    assert read_manifest(path) == read_manifest(model_path)
    assert strip(path.read_bytes()) == strip(model_path.read_bytes())
    again = attach_file(model_path.read_bytes(), "notes.bin", b"\x00\x01notes")
    assert again == path.read_bytes()


def test_a_model_without_a_zip_has_no_associated_file(model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "bare.tflite"
    path.write_bytes(strip(model_path.read_bytes()))
    assert read_associated(path, "notes.bin") is None


def test_a_file_that_claims_too_much_is_not_unpacked(model_path: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO(strip(model_path.read_bytes()))
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes.bin", bytes(MOST_BYTES + 1))
    path = tmp_path / "bomb.tflite"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(
        ModelError, match=r"'notes\.bin' in '.*bomb\.tflite' would unpack to 64,000,001 bytes"
    ):
        read_associated(path, "notes.bin")


def test_damage_and_a_missing_file_are_clear_errors(model_path: Path, tmp_path: Path) -> None:
    content = bytearray(attach_file(model_path.read_bytes(), "notes.bin", b"some notes"))
    content[content.rindex(b"some notes")] ^= 1
    path = tmp_path / "damaged.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"'notes\.bin' in '.*' is damaged"):
        read_associated(path, "notes.bin")
    with pytest.raises(ModelError, match=r"cannot read the model '.*missing"):
        read_associated(tmp_path / "missing.tflite", "notes.bin")
