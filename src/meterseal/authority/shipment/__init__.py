"""Files with which meters' keys travel: makers' formats in, our own in and out; all of a file or nothing."""

from meterseal.authority.shipment.envelope import open_envelope, seal_envelope
from meterseal.authority.shipment.generating import Template, generate, read_template
from meterseal.authority.shipment.importing import Refusal, Shipped, read_shipment, take_in
from meterseal.authority.shipment.mapping import Mapping, Transport, read_mapping
from meterseal.authority.shipment.own import read_own, write_own

__all__ = [
    "Mapping",
    "Refusal",
    "Shipped",
    "Template",
    "Transport",
    "generate",
    "open_envelope",
    "read_mapping",
    "read_own",
    "read_shipment",
    "read_template",
    "seal_envelope",
    "take_in",
    "write_own",
]
