"""The authority: certificates issued and revoked, and the keys of a fleet with their journal (store/)."""

from meterseal.authority.ca import CertificateAuthority, look
from meterseal.authority.register import Entry, Register, State

__all__ = ["CertificateAuthority", "Entry", "Register", "State", "look"]
