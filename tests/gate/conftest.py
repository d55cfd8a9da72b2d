"""What these tests share: authorizers, proxies that live as long as one module, and the folder with the program that e2e/ has too."""

import pytest
import toolchains
from e2e.conftest import world
from gate import proxies
from gate.lambda_api import authorizers

__all__ = ["guarded", "world"]


@pytest.fixture
def authorizer(binary, tmp_path_factory):
    with authorizers(binary, tmp_path_factory) as make:
        yield make


#: Kinds of proxies that can be started here.
KINDS = [kind for kind in proxies.STARTED if kind != "ingress-nginx" or toolchains.compiler_of_go()]


@pytest.fixture(scope="module", params=KINDS)
def guarded(request, lasting_authority, tmp_path_factory):
    """A service behind each kind of proxy in turn; see `proxies.Guarded`."""
    with proxies.guarded(request.param, lasting_authority, tmp_path_factory.mktemp(request.param)) as one:
        yield one
