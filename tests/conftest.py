"""What every test may ask for."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data with known identities, which lies beside the repository and is no part of it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data (../shared/data, beside the repository) is not here")
    return SHARED_DATA
