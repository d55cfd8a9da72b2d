"""What these tests share: authorizers, proxies that live as long as one module, and the folder with the program that e2e/ has too."""

import pytest
import toolchains
from e2e.conftest import world
from gate import proxies
from gate.lambda_api import authorizers
from servers import ingress_nginx

__all__ = ["guarded", "world"]


@pytest.fixture
def authorizer(binary, tmp_path_factory):
    with authorizers(binary, tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="module", params=list(proxies.STARTED))
def guarded(request, lasting_authority, tmp_path_factory):
    """A service behind each kind of proxy in turn; see `proxies.Guarded`."""
    if request.param == "ingress-nginx":
        try:
            ingress_nginx.program()
        except toolchains.Missing as why:
            toolchains.not_tested("the gate behind ingress-nginx", why)
            pytest.skip(str(why))
    with proxies.guarded(request.param, lasting_authority, tmp_path_factory.mktemp(request.param)) as one:
        yield one
