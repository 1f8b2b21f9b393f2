"""Which code ran: the git commit of the package and the versions of the libraries that numbers depend on."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import bmae_lightning
from bmae_lightning.runtime.configuration import config_directory

LIBRARIES = {
    name: (name,) for name in ("torch", "pytorch-lightning", "transformers", "numpy")
} | {"faiss": ("faiss-cpu", "faiss-gpu-cu12", "faiss-gpu")}  # fmt: skip
"""What a library is called here -> the packages that hold it."""


@cache
def library_versions() -> dict[str, str]:
    """Package -> version, of this package, of the libraries that are installed, and of Python."""
    found = {"bmae_lightning": bmae_lightning.__version__, "python": platform.python_version()}
    for name, packages in LIBRARIES.items():
        for package in packages:
            try:
                found.setdefault(name, version(package))
            except PackageNotFoundError:
                continue
    return found


@cache
def code_commit() -> str | None:
    """The commit that the package was imported from, with `-dirty` where it or conf/ was changed since.

    None where its files are in no git repository, or there is no git.
    """
    return commit_of(Path(bmae_lightning.__file__).resolve(), config_directory())


def commit_of(file: Path, *more: Path) -> str | None:
    """The commit of the checkout in which `file` is tracked; more: what is looked at too, beside the file's folder."""

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(file.parent), *arguments]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "--", str(file))
        commit, top = git("rev-parse", "HEAD"), git("rev-parse", "--show-toplevel")
        inside = [path for path in (file.parent, *more) if path.is_relative_to(top)]
        return commit + "-dirty" * bool(git("status", "--porcelain", "--", *map(str, inside)))
    except (OSError, subprocess.SubprocessError):
        return None
