import sys

import pytest

from bmae_lightning.corpus.builtin.docstrings import Docstring, package_docstrings, package_files, package_version
from bmae_lightning.runtime.errors import BadInput

SOURCE = '''"""The module."""
raise RuntimeError("this module must not be imported")
import sys

def first():
    """First."""
    def inner():
        """Inner."""

def _hidden():
    """Hidden."""

class Thing:
    """Thing."""
    def method(self):
        """Method."""
    def __init__(self):
        """Init."""

class _Private:
    def method(self):
        """Method of a private class."""

if sys.platform:
    try:
        async def second():
            """Second."""
    except ImportError:
        def third():
            """Third."""

add_newdoc("pkg.core", "flat", """Flat.""")
add_newdoc("pkg._core", "nd", ("copy", "Copy " + "it."))
add_newdoc("pkg.core", "nd", [("a", "A."), ("_b", "B.")])
lib.add_docstr(lib.abs, r"""abs(x)
{x} done""".format(x=1))
add_newdoc("pkg.core", "computed", make())
print("not", "a docstring")
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    root = tmp_path / "someones_package"
    (root / "tests").mkdir(parents=True)
    (root / "_impl").mkdir()
    (root / "not-a-module").mkdir()
    (root / "__init__.py").write_text('raise RuntimeError("imported")')
    (root / "api.py").write_text(SOURCE)
    (root / "broken.py").write_text("def (")
    (root / "_impl" / "deep.py").write_text('def public():\n    """Public."""\n')
    for skipped in ("tests/helper.py", "test_it.py", "conftest.py", "not-a-module/x.py"):
        (root / skipped).write_text('def no():\n    """No."""\n')
    monkeypatch.syspath_prepend(tmp_path)
    return root


def test_public_docstrings_in_source_order_without_import(package):
    found = list(package_docstrings("someones_package"))
    assert found[0] == Docstring("someones_package._impl.deep", "public", "Public.")
    assert {doc.module for doc in found[1:]} == {"someones_package.api"}
    assert [(doc.object, doc.text) for doc in found[1:]] == [
        ("", "The module."),
        ("first", "First."),
        ("Thing", "Thing."),
        ("Thing.method", "Method."),
        ("second", "Second."),
        ("third", "Third."),
        ("flat", "Flat."),
        ("nd.copy", "Copy it."),
        ("nd.a", "A."),
        ("lib.abs", "abs(x)\n{x} done"),
    ]
    assert "someones_package" not in sys.modules


def test_files_are_those_of_the_package(package):
    names = [name for name, _ in package_files("someones_package")]
    assert names == ["someones_package", *(f"someones_package.{n}" for n in ("_impl.deep", "api", "broken"))]


def test_a_single_file_is_a_package_too(tmp_path, monkeypatch):
    (tmp_path / "lonely_module.py").write_text('"""Alone."""\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert list(package_docstrings("lonely_module")) == [Docstring("lonely_module", "", "Alone.")]


def test_the_version_of_an_editable_package_follows_its_source(package):
    before = package_version("someones_package")
    assert package_version("someones_package") == before
    (package / "api.py").write_text(SOURCE + "\n")
    assert package_version("someones_package") != before


def test_versions_of_installed_packages():
    import numpy

    assert package_version("numpy") == numpy.__version__
    assert package_version("stdlib") == package_version("json") == sys.version.split()[0]


def test_the_standard_library_has_no_installed_packages_or_tests():
    names = {name for name, _ in package_files("stdlib")}
    assert {"json", "json.decoder", "argparse", "email.message"} <= names
    assert not [n for n in names if n.split(".")[0] in ("test", "idlelib", "site-packages", "numpy", "pytest")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("numpi", r"'numpi' of the built-in collection is not installed; did you mean .*'numpy'.*pip install numpi"),
        ("qqxxzzvv", r"'qqxxzzvv' of the built-in collection is not installed; pip install qqxxzzvv"),
        ("numpy.linalg", r"'numpy\.linalg' is not a top-level import name; give e\.g\. 'numpy'"),
        ("", r"'' of the built-in collection is not installed"),
        ("_struct", r"'_struct' has no Python source"),
    ],
)
def test_packages_that_cannot_be_read(name, message):
    with pytest.raises(BadInput, match=message):
        package_files(name)
