"""Private keys, certificates and trust for the clients of a meter in memory."""

from __future__ import annotations

from meterseal.crypto.certificates import Purpose
from meterseal.keys.trust import Trust
from meterseal.meter import Meter
from meterseal.meter.manufacture import client_keys, client_place
from meterseal.meter.pairs import AGREEMENT, SIGNATURE
from meterseal.security import SecuritySetup


def equip(setup: SecuritySetup, meter: Meter, sap: int) -> None:
    """Give a client's setup the pairs that the meter's maker drew for it, and what it trusts."""
    pairs = meter.pairs
    assert pairs is not None
    keys = client_keys(meter.store, client_place(sap))
    if keys is not None:
        setup.signing, setup.agreement = keys
        own = pairs.trust.find(setup.own_title, Purpose.SIGNATURE)
        setup.certificate = None if own is None else own.der
    trust = Trust(pairs.trust.anchors, lambda: None)
    for kind in (SIGNATURE, AGREEMENT):
        certificate = pairs.own(kind).certificate
        if certificate is not None:
            trust.pin(certificate)
    setup.directory = trust
