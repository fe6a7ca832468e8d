"""The authority: certificates issued, renewed and revoked, from a folder that remembers all of them."""

from meterseal.authority.ca import CertificateAuthority, look
from meterseal.authority.register import Entry, Register, State

__all__ = ["CertificateAuthority", "Entry", "Register", "State", "look"]
