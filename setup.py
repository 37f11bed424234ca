"""The part of the build that pyproject.toml cannot state.

It refuses a copy without symbolic links, packs links, and leaves out the files of earlier builds.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
# In a checkout, dermedge/edge is a link to edge, and so on.
FOLDERS = ("benchmarks", "convert", "edge", "models", "train")
GENERATED = r"(^|/)(__pycache__|node_modules|\.[a-z_]+_cache)/"


class FreshBuild(build_py):
    """Empties build/lib first. Otherwise the wheel would keep files of an earlier build that no longer exist."""

    def run(self) -> None:
        if not self.editable_mode:
            # not self.build_lib: --build-lib may name a folder with other files
            shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)
        super().run()


class SourceArchive(sdist):
    """A source archive that holds each folder once, such as dermedge/edge, so that it builds on systems without links.

    Links with the names that the folders have in a checkout lead to them.
    """

    def prune_file_list(self) -> None:
        super().prune_file_list()
        self.filelist.exclude_pattern(GENERATED, is_regex=True)

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        for folder in FOLDERS:
            os.symlink(f"dermedge/{folder}", Path(base_dir, folder))


absent = [f"dermedge/{folder}" for folder in FOLDERS if not (ROOT / "dermedge" / folder).is_dir()]
if absent:
    sys.exit(
        f"dermedge: error: {', '.join(absent)} should be symbolic links to folders, and this copy was made without "
        "links. Install the wheel, or unpack the .tar.gz; with git on Windows, turn developer mode on and clone again "
        "with: git clone -c core.symlinks=true"
    )
setup(cmdclass={"build_py": FreshBuild, "sdist": SourceArchive})
