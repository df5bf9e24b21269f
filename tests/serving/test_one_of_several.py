"""What a server of several needs besides the database: an address at which the others reach it."""

import pytest

from modelyard.errors import InvalidRequest
from modelyard.serving.one_of_several import bound, name_of


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_server_is_followed_at_a_free_port_of_its_address(host: str) -> None:
    with bound(host) as listener:
        name = name_of(listener)
        assert name.rpartition(":")[0].strip("[]") == host
        assert int(name.rpartition(":")[2]) > 0


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_what_is_no_address_of_this_machine_is_refused_by_name(host: str) -> None:
    with pytest.raises(InvalidRequest, match="server_host"):
        bound(host)
