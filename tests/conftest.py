"""What every test may ask for."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data with known identities, which lies beside the repository and is no part of it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data (../shared/data, beside the repository) is not here")
    return SHARED_DATA


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    """Runs `kintrack ARGUMENTS` in this process: its exit code, stdout and stderr."""

    from kintrack import cli

    def kintrack_with(*arguments: object) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["kintrack", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as leaving:
            code = leaving.code or 0
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=" ".join(err.split()))

    return kintrack_with
