"""The peers' routines as oracles: what one side seals or writes, the other opens and reads."""

from __future__ import annotations

from typing import Any

import pytest
from dlms_cosem import security as cosem_security
from dlms_cosem.connection import DlmsConnection
from dlms_cosem.protocol.acse import ApplicationAssociationRequest, ApplicationAssociationResponse
from dlms_cosem.protocol.xdlms import GeneralGlobalCipher
from dlms_cosem.security import HighLevelSecurityGmacAuthentication
from gurux_dlms._GXAPDU import _GXAPDU
from gurux_dlms.AesGcmParameter import AesGcmParameter
from gurux_dlms.enums import Authentication
from gurux_dlms.GXByteBuffer import GXByteBuffer
from gurux_dlms.GXCiphering import GXCiphering
from gurux_dlms.GXDLMSChippering import GXDLMSChippering
from gurux_dlms.GXDLMSSettings import GXDLMSSettings
from hypothesis import given, settings
from hypothesis import strategies as st

from meterseal.apdu.acse import AUTHENTICATION_UNIT, Aare, Aarq, context_name, mechanism_name
from meterseal.apdu.initiate import InitiateRequest, InitiateResponse
from meterseal.association.profile import DEFAULT_CONFORMANCE, conformance
from meterseal.credentials import RoleCredentials
from meterseal.security import AUTHENTICATED, ENCRYPTED, Style, protect, unprotect
from tests.peers import gurux
from tests.peers.gurux import PROTECTIONS
from tests.peers.house import keys
from tests.security.keys import AK, EK, OWN, PEER, context, in_use

BOTH = AUTHENTICATED | ENCRYPTED
CONTROL = cosem_security.SecurityControlField(0, authenticated=True, encrypted=True)
plain_apdus = st.builds(lambda rest: b"\xc0" + rest, st.binary(min_size=1, max_size=80))
counters = st.integers(min_value=1, max_value=0xFFFF_0000)
few = settings(max_examples=15)
FORMS = [(Style.GLO, 0xC8), (Style.GENERAL_GLO, 0xDB)]


def sender(counter: int) -> Any:
    """A client's context that sends from this counter on."""
    made = context(peer=PEER, dedicated=False)
    made.setup.unicast = in_use(first=counter)
    return made


def parameters(title: bytes, protection: int, tag: int = 0, counter: int = 0) -> Any:
    """gurux-dlms' own description of a protection."""
    made = AesGcmParameter(tag, bytearray(title), bytearray(EK), bytearray(AK))
    made.security, made.invocationCounter = PROTECTIONS[protection], counter
    return made


def general(title: bytes, counter: int, body: bytes) -> bytes:
    """dlms-cosem's general-glo-ciphering."""
    made = GeneralGlobalCipher(
        security_control=CONTROL, system_title=title, invocation_counter=counter, ciphered_text=body
    )
    return bytes(made.to_bytes())


@pytest.mark.parametrize(("style", "tag"), FORMS, ids=["glo", "general-glo"])
@pytest.mark.parametrize("protection", [AUTHENTICATED, ENCRYPTED, BOTH])
@few
@given(apdu=plain_apdus, counter=counters)
def test_gurux_seals_as_we_do(style: Style, tag: int, protection: int, apdu: bytes, counter: int) -> None:
    ours = protect(sender(counter), apdu, protection, style)
    theirs = GXDLMSChippering.encryptAesGcm(parameters(OWN, protection, tag, counter), bytearray(apdu))
    assert bytes(theirs) == ours


@pytest.mark.parametrize(("style", "tag"), FORMS, ids=["glo", "general-glo"])
@pytest.mark.parametrize("protection", [AUTHENTICATED, BOTH])
@few
@given(apdu=plain_apdus, counter=counters)
def test_gurux_opens_what_we_seal(style: Style, tag: int, protection: int, apdu: bytes, counter: int) -> None:
    octets = protect(sender(counter), apdu, protection, style)
    end = GXDLMSSettings(False, None)
    end.cipher = GXCiphering(bytearray(PEER))
    opened = GXDLMSChippering.decryptAesGcm(end, parameters(OWN, 0), GXByteBuffer(octets))
    assert bytes(opened) == apdu


@few
@given(apdu=plain_apdus, counter=counters)
def test_dlms_cosem_seals_as_we_do_and_opens_it(apdu: bytes, counter: int) -> None:
    ours = protect(sender(counter), apdu, BOTH, Style.GENERAL_GLO)
    body = cosem_security.encrypt(CONTROL, OWN, counter, EK, apdu, AK)
    assert general(OWN, counter, body) == ours
    read = GeneralGlobalCipher.from_bytes(ours)
    assert (read.system_title, read.invocation_counter, read.security_control) == (OWN, counter, CONTROL)
    assert cosem_security.decrypt(CONTROL, OWN, counter, EK, read.ciphered_text, AK) == apdu


@few
@given(apdu=plain_apdus, counter=counters)
def test_we_open_what_the_peers_seal(apdu: bytes, counter: int) -> None:
    """One receiver for each, since neither may use a counter twice."""
    body = cosem_security.encrypt(CONTROL, PEER, counter, EK, apdu, AK)
    gurux = GXDLMSChippering.encryptAesGcm(parameters(PEER, BOTH, 0xDB, counter), bytearray(apdu))
    for octets in (general(PEER, counter, body), bytes(gurux)):
        opened = unprotect(context(), octets)
        assert (opened.apdu, opened.applied, opened.counter) == (apdu, BOTH, counter)


@few
@given(counter=counters, challenge=st.binary(min_size=8, max_size=64))
def test_tokens_of_hls_gmac_agree(counter: int, challenge: bytes) -> None:
    nonce = OWN + counter.to_bytes(4, "big")
    key = in_use().handle
    tag = key.tag(0x10, nonce, challenge)
    alone = cosem_security.SecurityControlField(0, authenticated=True)
    assert cosem_security.gmac(alone, OWN, counter, EK, AK, challenge) == tag
    described = parameters(OWN, AUTHENTICATED, 0, counter)
    GXDLMSChippering.encryptAesGcm(described, bytearray(challenge))
    assert bytes(described.countTag) == tag


# --- sign-on APDUs ----------------------------------------------------------------------------------

challenges = st.binary(min_size=8, max_size=32)
sizes = st.integers(min_value=64, max_value=0xFFFF)


@few
@given(challenge=challenges, size=sizes, counter=counters)
def test_peers_read_our_aarq(challenge: bytes, size: int, counter: int) -> None:
    plain = InitiateRequest(None, True, None, 6, DEFAULT_CONFORMANCE, size).encode()
    request = Aarq(
        application_context_name=context_name(3),
        calling_ap_title=OWN,
        sender_acse_requirements=AUTHENTICATION_UNIT,
        mechanism_name=mechanism_name(5),
        calling_authentication_value=challenge,
        user_information=protect(sender(counter), plain, BOTH, Style.GLO),
    ).encode()
    read = ApplicationAssociationRequest.from_bytes(request)
    assert (read.ciphered, read.system_title, read.authentication_value) == (True, OWN, challenge)
    assert read.authentication.value == 5
    assert read.to_bytes() == request
    end = GXDLMSSettings(True, None)
    end.cipher = cipher()
    _GXAPDU.parsePDU(end, end.cipher, GXByteBuffer(request), None)
    assert end.authentication == Authentication.HIGH_GMAC
    assert (bytes(end.sourceSystemTitle), bytes(end.ctoSChallenge)) == (OWN, challenge)


@few
@given(challenge=challenges, size=sizes, counter=counters)
def test_peers_read_our_aare(challenge: bytes, size: int, counter: int) -> None:
    plain = InitiateResponse(None, 6, DEFAULT_CONFORMANCE, size, 7).encode()
    answer = Aare(
        application_context_name=context_name(3),
        result=0,
        user_diagnostic=14,
        responding_ap_title=OWN,
        responder_acse_requirements=AUTHENTICATION_UNIT,
        mechanism_name=mechanism_name(5),
        responding_authentication_value=challenge,
        user_information=protect(sender(counter), plain, BOTH, Style.GLO),
    ).encode()
    read = ApplicationAssociationResponse.from_bytes(answer)
    assert (read.ciphered, read.system_title, read.authentication_value) == (True, OWN, challenge)
    assert (read.result.value, read.result_source_diagnostics.value) == (0, 14)
    end = GXDLMSSettings(False, None)
    end.cipher = cipher()
    assert _GXAPDU.parsePDU(end, end.cipher, GXByteBuffer(answer), None) == 14
    assert (bytes(end.sourceSystemTitle), bytes(end.stoCChallenge)) == (OWN, challenge)
    assert end.maxPduSize == size


def cipher() -> Any:
    """The ciphering settings of a gurux-dlms end."""
    made = GXCiphering(bytearray(PEER))
    made.blockCipherKey, made.authenticationKey = bytearray(EK), bytearray(AK)
    return made


def aarq_of_gurux(role: RoleCredentials, size: int) -> bytes:
    """The AARQ behind the wrapper's eight octets."""
    (frame,) = gurux.make(role, max_pdu=size).aarqRequest()
    return bytes(frame)[8:]


def aarq_of_cosem(role: RoleCredentials, size: int) -> bytes:
    """The AARQ of a connection without a line."""
    connection = DlmsConnection(
        HighLevelSecurityGmacAuthentication(),
        role.client_system_title,
        *keys(role),
        client_invocation_counter=role.counter_start,
        max_pdu_size=size,
    )
    return bytes(connection.send(connection.get_aarq()))


@pytest.mark.parametrize("make", [aarq_of_gurux, aarq_of_cosem])
@few
@given(size=st.integers(min_value=256, max_value=0xFFFF), counter=counters)
def test_we_read_the_peers_aarq(make: Any, size: int, counter: int) -> None:
    role = RoleCredentials(
        client=2, mechanism="gmac", client_system_title=PEER, guek=EK, gak=AK, counter_start=counter
    )
    octets = make(role, size)
    request = Aarq.decode(octets)
    assert request.encode() == octets
    assert (request.calling_ap_title, request.mechanism_name) == (PEER, mechanism_name(5))
    assert len(request.calling_authentication_value or b"") >= 8
    opened = unprotect(context(), request.user_information or b"")
    assert (opened.applied, opened.counter) == (BOTH, counter)
    initiate = InitiateRequest.decode(opened.apdu)
    assert initiate.client_max_receive_pdu_size == size
    assert initiate.proposed_conformance & conformance("get", "set", "action")
