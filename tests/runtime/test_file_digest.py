import hashlib
import json
import os

import pytest

from bmae_lightning.runtime import file_digest as module
from bmae_lightning.runtime.file_digest import file_digest


@pytest.fixture
def large(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 10)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "large"
    path.write_bytes(b"x" * 20)
    return path


def test_a_large_file_is_read_once_until_it_changes(large, monkeypatch):
    expected = hashlib.sha256(b"x" * 20).hexdigest()
    assert file_digest(large) == expected
    with monkeypatch.context() as patch:
        patch.setattr(module, "_read", lambda path: pytest.fail("read again"))
        assert file_digest(large) == expected
    large.write_bytes(b"y" * 20)
    os.utime(large, ns=(1, 1))
    assert file_digest(large) == hashlib.sha256(b"y" * 20).hexdigest()


def test_a_small_file_is_not_remembered_and_a_damaged_memory_is_replaced(large, tmp_path):
    small = tmp_path / "small"
    small.write_bytes(b"123")
    assert file_digest(small) == hashlib.sha256(b"123").hexdigest()
    memory = tmp_path / "cache" / "bmae_lightning" / "digests.json"
    assert not memory.exists()
    memory.parent.mkdir(parents=True)
    memory.write_text("{")
    file_digest(large)
    assert len(json.loads(memory.read_text())) == 1


def test_without_a_place_to_remember(large, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert file_digest(large) == hashlib.sha256(b"x" * 20).hexdigest()
