"""Image transfer (class 18): a new firmware, block by block, verified as a whole before it can be activated.

A transfer outlives associations and restarts: what has come stays, what is missing is said, and the client
goes on there.  An image that does not verify is never activated.  `Check` is what verification means: by
default the image ends with the SHA-256 of identifier and content (`image_of` makes one).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from meterseal.codec.types import Array, BitString, MixedArray, Structure, Tag
from meterseal.cosem.obis import Obis
from meterseal.crypto import digest_of, same
from meterseal.errors import Forged, MetersealError
from meterseal.meter.events import IMAGE_ACTIVATED, IMAGE_READY, Events
from meterseal.meter.objects import OTHER_REASON, Asker, CosemObject, Denied, Value
from meterseal.meter.plant import Plant
from meterseal.meter.store import MeterStore

Check: TypeAlias = Callable[[bytes, bytes], bytes]
"""(identifier, image) to the signature that image_to_activate_info shows.  Raises Forged."""

NONE, INITIATED, VERIFIED, NOT_VERIFIED, ACTIVATED = 0, 1, 3, 4, 6
"""image_transfer_status; verification and activation are done within their call."""

DIGEST: Final = 32
LONGEST_IDENTIFIER: Final = 64
BLOCK_SIZE, LARGEST = 512, 1 << 18

_INFO: Final = Array(Structure((Tag.DOUBLE_LONG_UNSIGNED, Tag.OCTET_STRING, Tag.OCTET_STRING)))


def image_of(identifier: bytes, content: bytes) -> bytes:
    """An image as `check_digest` wants it: the content, then SHA-256 over identifier and content."""
    return content + digest_of(identifier + content)


def check_digest(identifier: bytes, image: bytes) -> bytes:
    """The digest at the end of an image that it fits.  Raises Forged."""
    found = image[-DIGEST:]
    if len(image) <= DIGEST or not same(digest_of(identifier + image[:-DIGEST]), found):
        raise Forged("the digest at the end of the image does not fit it")
    return found


class ImageTransfer(CosemObject):
    """The image that comes in, at most `largest` octets in blocks of `block_size`.

    After activation the identifier is the active firmware, and the octets of the image are let go.
    """

    def __init__(
        self,
        obis: Obis,
        plant: Plant,
        store: MeterStore,
        events: Events,
        *,
        place: str,
        block_size: int = BLOCK_SIZE,
        largest: int = LARGEST,
        check: Check = check_digest,
    ) -> None:
        super().__init__(18, obis)
        self._plant, self._store, self._events, self._place = plant, store, events, place
        self._block_size, self._largest, self._check = block_size, largest, check
        self._length, self._size = 0, block_size
        self._take(store.get(place) or _record(NONE, b"", 0, block_size))
        self._blocks = {at for at in range(self.count) if store.get(self._block(at)) is not None}
        self._enabled: bool = store.get(f"{place}/enabled", True)
        number = Tag.DOUBLE_LONG_UNSIGNED
        self.readers |= {
            2: lambda asker: (self._size, number),
            3: lambda asker: (self._bits(), Tag.BIT_STRING),
            4: lambda asker: (self._first_missing(), number),
            5: lambda asker: (self._enabled, Tag.BOOLEAN),
            6: lambda asker: (self._status, Tag.ENUM),
            7: self._info,
        }
        self.writers[5] = self._enable
        self.callers |= {1: self._initiate, 2: self._transfer, 3: self._verify, 4: self._activate}

    # --- what there is ----------------------------------------------------------------------

    def _take(self, kept: dict[str, Any]) -> None:
        self._status, self._identifier = kept["status"], bytes.fromhex(kept["identifier"])
        self._length, self._size = kept["length"], kept["block"]
        self._signature = bytes.fromhex(kept["signature"])

    @property
    def count(self) -> int:
        """Blocks of the image that was announced."""
        return -(-self._length // self._size)

    def _block(self, at: int) -> str:
        return f"{self._place}/block/{at}"

    def _have(self) -> int:
        return self.count if self._status == ACTIVATED else len(self._blocks)

    def _bits(self) -> BitString:
        whole = self._status == ACTIVATED
        return BitString.of("".join("1" if whole or at in self._blocks else "0" for at in range(self.count)))

    def _first_missing(self) -> int:
        if self._have() == self.count:
            return self.count
        return next(at for at in range(self.count) if at not in self._blocks)

    def _info(self, asker: Asker) -> Value:
        if self._status not in (VERIFIED, ACTIVATED):
            return [], MixedArray(())
        return [(self._length, self._identifier, self._signature)], _INFO

    def _keep(self, status: int, signature: bytes = b"", **beside: Any) -> None:
        kept = _record(status, self._identifier, self._length, self._size, signature)
        self._store.keep({self._place: kept, **beside})
        self._take(kept)

    # --- methods ----------------------------------------------------------------------------

    def _enable(self, asker: Asker, enabled: bool) -> None:
        self._store.keep({f"{self._place}/enabled": enabled})
        self._enabled = enabled

    def _need(self, *statuses: int) -> None:
        if not self._enabled:
            raise Denied(OTHER_REASON, "image transfer is not enabled")
        if self._status not in statuses:
            raise Denied(OTHER_REASON, f"not in image_transfer_status {self._status}")

    def _initiate(self, asker: Asker, given: tuple[bytes, int]) -> None:
        """A new transfer; of an earlier one nothing stays."""
        identifier, length = given
        self._need(NONE, INITIATED, VERIFIED, NOT_VERIFIED, ACTIVATED)
        if not 1 <= length <= self._largest or not 1 <= len(identifier) <= LONGEST_IDENTIFIER:
            raise Denied(
                OTHER_REASON,
                f"an image has 1 to {self._largest} octets, its identifier 1 to {LONGEST_IDENTIFIER}",
            )
        kept = _record(INITIATED, identifier, length, self._block_size)
        self._store.keep({self._place: kept, **self._gone()})
        self._take(kept)
        self._blocks = set()

    def _gone(self) -> dict[str, None]:
        return {self._block(at): None for at in self._blocks}

    def _transfer(self, asker: Asker, given: tuple[int, bytes]) -> None:
        """One block, in any order; the last one is as long as what is left."""
        at, octets = given
        self._need(INITIATED, NOT_VERIFIED)
        if at >= self.count:
            raise Denied(OTHER_REASON, f"block {at} of an image of {self.count}")
        if len(octets) != min(self._size, self._length - at * self._size):
            raise Denied(OTHER_REASON, f"block {at} with {len(octets)} octets")
        self._store.collect({self._block(at): octets.hex().upper()})
        self._blocks.add(at)

    def _verify(self, asker: Asker, parameter: int) -> None:
        """All blocks are there, and the image is what its maker made."""
        self._need(INITIATED, VERIFIED, NOT_VERIFIED)
        if len(self._blocks) < self.count:
            raise Denied(OTHER_REASON, f"{self.count - len(self._blocks)} blocks are missing")
        image = b"".join(bytes.fromhex(self._store.get(self._block(at))) for at in range(self.count))
        try:
            signature = self._check(self._identifier, image)
        except MetersealError as error:
            self._keep(NOT_VERIFIED)
            raise Denied(OTHER_REASON, str(error)) from error
        self._keep(VERIFIED, signature)
        self._events.happened(IMAGE_READY)

    def _activate(self, asker: Asker, parameter: int) -> None:
        """The verified image becomes the firmware; one that was not verified yet is verified first."""
        self._need(INITIATED, VERIFIED)
        if self._status == INITIATED:
            self._verify(asker, parameter)
        name = _text(self._identifier)
        self._keep(ACTIVATED, self._signature, firmware=name, **self._gone())
        self._blocks = set()
        self._plant.identity = self._plant.identity._replace(firmware=name)
        self._events.happened(IMAGE_ACTIVATED)


def _record(
    status: int, identifier: bytes, length: int, block: int, signature: bytes = b""
) -> dict[str, Any]:
    """What is kept of a transfer, beside its blocks."""
    return {
        "status": status, "identifier": identifier.hex().upper(), "length": length, "block": block,
        "signature": signature.hex().upper(),
    }  # fmt: skip


def _text(identifier: bytes) -> str:
    """The identifier as the name of a firmware: as text if it is one, else as hex."""
    try:
        text = identifier.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    return text if text.isprintable() and text else identifier.hex().upper()
