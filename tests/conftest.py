"""What every test may ask for."""

from pathlib import Path

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
