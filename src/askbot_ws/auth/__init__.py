"""Authentication: from the credential of a request to the principal on whose behalf it is executed."""

from .authenticator import Authenticator
from .choose import make_authenticator
from .request_head import RequestHead

__all__ = ["Authenticator", "RequestHead", "make_authenticator"]
