"""Credentials: what a person or another program needs to speak to a meter, as a TOML file or as an object.

`Credentials.load(path)` reads the file strictly, `save` writes it with mode 0600; `key_option` reads a key
as it may stand on a command line.  Nothing here shows a key: not a repr, not an error text.
"""

from meterseal.credentials.keytext import key_option, password_option, text_option
from meterseal.credentials.model import Credentials
from meterseal.credentials.records import MeterCredentials, RoleCredentials, ThirdPartyCredentials

__all__ = [
    "Credentials",
    "MeterCredentials",
    "RoleCredentials",
    "ThirdPartyCredentials",
    "key_option",
    "password_option",
    "text_option",
]
