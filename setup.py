"""Builds the wheel: all packages of the project inside one package, `digit_edge`.

PyPI has distributions named train, export, runtime and benchmarks. If the wheel installed top-level
packages of these names, the files of one would overwrite those of the other. So the wheel has them
as digit_edge.train, digit_edge.export, …, and their imports of each other are rewritten. A checkout
and an editable install keep the top-level packages. Everything that needs no such step is in
pyproject.toml.
"""

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PACKAGES = ("benchmarks", "export", "runtime", "train")
# `tests/test_house.py` holds the code to absolute imports of this one form.
IMPORT = re.compile(rf"^([ \t]*from )({'|'.join(PACKAGES)})(?=[\w.]* import )", re.MULTILINE)


class BuildInsideOnePackage(build_py):
    """Copy the packages as usual, then move them into `digit_edge`."""

    def run(self) -> None:
        """Build. An editable install refers to the checkout: there is nothing to move."""
        super().run()
        if self.editable_mode:
            return
        parent = Path(self.build_lib, "digit_edge")
        for package in PACKAGES:
            shutil.rmtree(parent / package, ignore_errors=True)  # of an earlier build
            shutil.move(Path(self.build_lib, package), parent)
        for module in parent.rglob("*.py"):
            source = module.read_text(encoding="utf-8")
            module.write_text(IMPORT.sub(r"\1digit_edge.\2", source), encoding="utf-8")


setup(cmdclass={"build_py": BuildInsideOnePackage})
