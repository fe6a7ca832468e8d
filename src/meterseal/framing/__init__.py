"""Framing: between the octets of a line and whole APDUs, both ways; no input or output, no APDU knowledge.

| module    | what it turns into APDUs                                     | source                 |
| --------- | ------------------------------------------------------------ | ---------------------- |
| `wrapper` | the 8-octet header of TCP and UDP                            | acse-xdlms 8           |
| `hdlc`    | HDLC frames, their segments, SNRM/UA parameters              | acse-xdlms 9           |
| `mbus`    | M-Bus long frames and their segments                         | more 4.1               |
| `p1`      | P1 text telegrams; the length of ciphered ones               | more 4.2               |
| `gbt`     | general block transfer: blocks, APDUs out of captured blocks | acse-xdlms 5.2, more 2 |
| `gateway` | the gateway prefix                                           | more 1                 |
| `detect`  | which of these some captured octets are, and what is inside  | more 4.3               |

Everything here raises only `meterseal.errors` types on bad input: `Truncated`, `Malformed`, `TooLarge`.
"""
