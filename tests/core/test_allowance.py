"""Allowance: who is one client, and what its questions may choose."""

from __future__ import annotations

import pytest

from askbot_ws.core.allowance import Allowance, Allowances, address_key
from askbot_ws.core.principal import ANONYMOUS, Principal
from askbot_ws.errors import Forbidden
from askbot_ws.events import Options

OFFERED = ("big", "small")


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9%eth0", "2001:db8:1:2::/64"),
        ("", ""),
        ("unknown", "unknown"),
    ],
)
def test_who_has_many_addresses_is_one_client(address: str, key: str) -> None:
    """A customer has 2^64 of IPv6, and one of IPv4 however it is written."""
    assert address_key(address) == key


def test_a_user_is_the_same_client_everywhere_and_others_are_their_address() -> None:
    """No user's name is an address's key."""
    everybody = Allowances()

    assert everybody.client_of(Principal(user="ann"), "192.0.2.1").key == "ann"
    assert everybody.client_of(ANONYMOUS, "192.0.2.1").key == " 192.0.2.1"
    assert everybody.client_of(ANONYMOUS, "").user is None


def test_roles_override_what_holds_for_all() -> None:
    """Without a role, or with one that is not given, it is `default`, where there is that."""
    plain, guest, default = Allowance(turns=1), Allowance(turns=2), Allowance(turns=3)

    assert Allowances(plain, {"guest": guest}).of("guest") is guest
    assert Allowances(plain, {"guest": guest}).of(None) is plain
    assert Allowances(plain, {"guest": guest, "default": default}).of("other") is default
    assert (Allowances(plain, {"guest": Allowance(tokens_per_day=0)}).have_budgets, Allowances().have_budgets) == (
        True,
        False,
    )


def test_a_role_without_lists_may_choose_what_is_offered() -> None:
    """And its question is asked as it was given."""
    given = Options(model="small", temperature=1.0, max_tokens=1000)
    assert Allowance().resolve_options(given, offered=OFFERED, max_tokens=1000) is given
    assert Allowance().resolve_options(Options(), offered=OFFERED, max_tokens=1000) == Options()
    for wrong in (Options(model="other"), Options(max_tokens=1001)):
        with pytest.raises(Forbidden):
            Allowance().resolve_options(wrong, offered=OFFERED, max_tokens=1000)


def test_a_roles_limits_hold_for_questions_that_name_nothing_too() -> None:
    """Else leaving an option out would go round them."""
    role = Allowance(models=("tiny", "small"), max_tokens=100, temperature=False)

    assert role.models_of(OFFERED) == ("tiny", "small")
    assert Allowance(models=("small", "big")).models_of(OFFERED) == ("big", "small")
    asked = role.resolve_options(Options(), offered=OFFERED, max_tokens=1000)
    assert asked == Options(model="tiny", max_tokens=100)
    assert role.resolve_options(Options(model="small", max_tokens=9), offered=OFFERED, max_tokens=1000).max_tokens == 9
    for wrong in (Options(model="big"), Options(temperature=0.0), Options(max_tokens=101)):
        with pytest.raises(Forbidden):
            role.resolve_options(wrong, offered=OFFERED, max_tokens=1000)
