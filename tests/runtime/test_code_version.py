"""The commit of a checkout, from a git repository made for the test."""

import subprocess

import pytest

from bmae_lightning.runtime.code_version import commit_of


@pytest.fixture
def checkout(tmp_path):
    """A repository with package/code.py and conf/, and its commit."""

    def git(*arguments):
        named = ["-c", "user.name=a", "-c", "user.email=a@b"]
        run = subprocess.run(
            ["git", *named, "-C", str(tmp_path), *arguments], check=True, capture_output=True, text=True
        )
        return run.stdout.strip()

    for name in ("package/code.py", "conf/config.yaml", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("one\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    return tmp_path, git("rev-parse", "HEAD")


def test_the_commit_of_a_checkout_and_what_was_changed_since(checkout):
    directory, commit = checkout
    file, conf = directory / "package" / "code.py", directory / "conf"
    assert commit_of(file, conf) == commit
    (directory / "README.md").write_text("two\n")
    assert commit_of(file, conf) == commit, "nothing that runs has changed"
    (conf / "config.yaml").write_text("two\n")
    assert commit_of(file, conf) == f"{commit}-dirty"
    assert commit_of(file) == commit
    (directory / "package" / "more.py").write_text("new\n")
    assert commit_of(file) == f"{commit}-dirty"


def test_a_hook_of_another_repository_misleads_nobody(checkout, monkeypatch):
    directory, commit = checkout
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    assert commit_of(directory / "package" / "code.py") == commit


def test_a_file_that_no_repository_tracks_has_none(checkout, tmp_path_factory, monkeypatch):
    directory, _ = checkout
    installed = directory / ".venv" / "site-packages" / "code.py"
    installed.parent.mkdir(parents=True)
    installed.touch()
    assert commit_of(installed) is None
    outside = tmp_path_factory.mktemp("outside") / "code.py"
    outside.touch()
    assert commit_of(outside) is None
    monkeypatch.setenv("PATH", "")
    assert commit_of(directory / "package" / "code.py") is None
