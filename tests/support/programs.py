"""Programs that tests can do without: ./deploy/test installs them where it may."""

import shutil

import pytest


def promtool() -> str:
    """Prometheus's own check of rules and figures; where it is not there, the test that asks for it is skipped."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not here (Debian: prometheus), so rules and figures are not checked by it")
    return found
