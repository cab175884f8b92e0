"""What the doctor says of components; tests/cli/test_doctor.py changes their shape."""

from __future__ import annotations

from importlib import metadata

from holter.checkup.components import components


def test_what_is_installed_can_be_instrumented() -> None:
    """Each by the name of its target, with its version."""
    found = {finding.subject: finding for finding in components()}
    assert "ok" == found["ScikitLearn"].state
    assert f"scikit-learn {metadata.version('scikit-learn')} can be instrumented" == found["ScikitLearn"].words
