"""The small collection and the command, as fixtures."""

from pathlib import Path

import pytest
from support.command import TINY, command, main_here, write_collection


@pytest.fixture(scope="session")
def collection(tmp_path_factory) -> Path:
    return write_collection(tmp_path_factory.mktemp("collection") / "beir")


@pytest.fixture
def cli(tmp_path, collection):
    """The command with the tiny settings on the small collection, in a directory of its own."""

    def run(*arguments: str, code: int | None = 0, **options) -> str:
        return command(*TINY, f"corpus.path={collection}", *arguments, cwd=tmp_path, code=code, **options)

    return run


@pytest.fixture
def here(tmp_path, monkeypatch, capfd):
    """`python -m bmae_lightning …` in this process, in a directory of its own: nothing is imported anew."""

    def run(*arguments: str, code: int = 0) -> str:
        capfd.readouterr()
        found = main_here(monkeypatch, tmp_path, *arguments)
        written = capfd.readouterr()
        assert found == code, written.out + written.err
        return written.out + written.err

    return run


@pytest.fixture
def cli_here(here, collection):
    """As `cli`, in this process."""

    def run(*arguments: str, code: int = 0) -> str:
        return here(*TINY, f"corpus.path={collection}", *arguments, code=code)

    return run
