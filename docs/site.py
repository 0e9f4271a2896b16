"""Hook of mkdocs.yml: adds the pages of the repository to the site, under their own paths.

So their links to each other stay valid, on the site and in the repository. docs/api has the pages
that exist on the site only.
"""

import subprocess
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
# Files that the pages show or link to, as patterns of git ls-files.
CONTENT = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "*.ipynb"),
    *("docs/*.md", "docs/*.png", "docs/*.svg", "docs/draw_examples.py", "train/RECIPE.md"),
    *("deploy/README.md", "benchmarks/results/*", "examples/*"),
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of `CONTENT` to the site."""
    for path in paths():
        if not path.startswith("docs/api/"):
            files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def paths() -> list[str]:
    """Return the paths of `CONTENT`, relative to the root; files that git ignores are left out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--"]
    listed = subprocess.run([*command, *CONTENT], cwd=ROOT, capture_output=True, check=True)
    return sorted({path for path in listed.stdout.decode().split("\0") if path})
