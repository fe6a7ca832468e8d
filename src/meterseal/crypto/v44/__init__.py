"""V.44 (LZJH), packet method: what the compression bit of the security control octet stands for.

Each call is one packet with a dictionary of its own; nothing is kept from one to the next.  Written
from public implementations and from octets that a modem chip sent, not from the text of the
Recommendation; the sheet says how far each rule is proved (v44).

A packet is a row of codes, least significant bit first:

| code             | bits on the line, then a field             | may come                       |
|------------------|--------------------------------------------|--------------------------------|
| ordinal          | `0`, octet (C5); after a codeword `0 0`    | always                         |
| extension length | `0 1`, length field                        | directly after a codeword      |
| codeword         | `1`, value from 4 on (C2)                  | always                         |
| control          | `1`, value 0 to 3 (C2)                     | always                         |

Both ends number new strings alike, from 4 on: an ordinal or codeword makes the previous code's
string longer by its first octet, an extension makes its codeword's string longer by its whole length.
"""

from meterseal.crypto.v44.codes import PACKET, STREAM, Parameters
from meterseal.crypto.v44.decoder import LIMIT, decompress
from meterseal.crypto.v44.encoder import compress

__all__ = ["LIMIT", "PACKET", "STREAM", "Parameters", "compress", "decompress"]
