"""Proxies that live as long as the tests of one module."""

import pytest
from gate import proxies


@pytest.fixture(scope="module", params=list(proxies.COMMANDS))
def guarded(request, lasting_authority, tmp_path_factory):
    """A service behind each kind of proxy in turn; see `proxies.Guarded`."""
    with proxies.guarded(request.param, lasting_authority, tmp_path_factory.mktemp(request.param)) as one:
        yield one
