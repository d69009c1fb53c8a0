"""The public API: what `import tumorlens` promises."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import tumorlens
from tumorlens.inference import classifier as predict
from tumorlens.inference.bundle import bundle


def test_everything_promised_is_there() -> None:
    for name in tumorlens.__all__:
        assert getattr(tumorlens, name) is not None
        assert name in dir(tumorlens)


def test_what_is_not_promised_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="telepathy"):
        _ = tumorlens.telepathy


def test_importing_it_costs_nothing() -> None:
    code = (
        "import sys, tumorlens; "
        "assert not {'numpy', 'cv2', 'onnxruntime', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_version_is_the_installed_one() -> None:
    assert isinstance(tumorlens.__version__, str)
    assert tumorlens.__version__[0].isdigit()


def test_the_documented_example_runs(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The example loads the shipped model; any bundle will do to see it run.
    monkeypatch.setattr(predict, "DEFAULT_BUNDLE", tiny_bundle)
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(predict.load_classifier, "load_classifier")
    assert len(example.examples) > 3
    results = doctest.DocTestRunner().run(example)
    assert results.failed == 0


def test_the_default_bundle_lies_inside_the_package() -> None:
    package = Path(tumorlens.__file__).parent
    assert package / "models" / "evidence-net" == bundle.DEFAULT_BUNDLE
