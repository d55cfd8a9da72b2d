"""Proxies that live as long as the tests of one module, and the folder with the program in it that e2e/ has too."""

import pytest
from e2e.conftest import world
from gate import proxies

__all__ = ["guarded", "world"]


@pytest.fixture(scope="module", params=list(proxies.COMMANDS))
def guarded(request, lasting_authority, tmp_path_factory):
    """A service behind each kind of proxy in turn; see `proxies.Guarded`."""
    with proxies.guarded(request.param, lasting_authority, tmp_path_factory.mktemp(request.param)) as one:
        yield one
