"""The tester's bench: dissection of foreign traffic, opened as far as the keys at hand go.

`dissect(octets, keyring)` is the door; `Dissector` is the same for a stream that comes in pieces. Nothing
here speaks on a line, and nothing of a message whose tag does not verify is shown unless it is asked for
by name (`unverified`).
"""

from meterseal.probe.dissect import Dissection, Dissector, dissect
from meterseal.probe.keyring import Keyring, Keys
from meterseal.probe.readings import Reading, readings
from meterseal.probe.sources import MAX_INPUT, pieces

__all__ = [
    "MAX_INPUT",
    "Dissection",
    "Dissector",
    "Keyring",
    "Keys",
    "Reading",
    "dissect",
    "pieces",
    "readings",
]
