"""Find references from an HDF5 file to other files. HDF5 follows such references without a question."""

from __future__ import annotations

import h5py

__all__ = ["reference_to_other_file"]


def reference_to_other_file(file: h5py.File) -> str | None:
    """Return in words the first reference of an open HDF5 file to another file. Return None if there is none.

    The values of a dataset may be stored in another file (external or virtual storage), and a name in a group may stand
    for an object in another HDF5 file (an external link).
    """
    return _link(file) or file.visititems(lambda name, item: _storage(item) or _link(item))


def _storage(item: h5py.Dataset | h5py.Group) -> str | None:
    if not isinstance(item, h5py.Dataset):
        return None
    other = next((name for name, *_ in item.external or ()), None)
    if other is None and item.is_virtual:
        other = item.virtual_sources()[0].file_name
    return None if other is None else f"the values of '{item.name}' are in the file '{other}'"


def _link(item: h5py.Dataset | h5py.Group) -> str | None:
    if not isinstance(item, h5py.Group):
        return None
    for name in item:
        link = item.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            return f"'{item.name.rstrip('/')}/{name}' is in the file '{link.filename}'"
    return None
