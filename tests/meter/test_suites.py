"""Meters of suites 1 and 2: sign-on by signature, what they are made with, and what is kept of it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from meterseal.association import Associated, Confirmed, Reply
from meterseal.codec.data import Tag
from meterseal.credentials import Credentials
from meterseal.crypto import AgreementKey, SigningKey, curve, random_octets
from meterseal.crypto.certificates import Certificate, Purpose
from meterseal.crypto.issuing import Authority, Validity
from meterseal.errors import ConfigurationError
from meterseal.meter import Meter, load_plan, write_credentials
from meterseal.meter.manufacture import maker_of
from meterseal.meter.pairs import AGREEMENT, SIGNATURE, TLS
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED, SecuritySetup
from meterseal.security.protection import policy_bits
from tests.meter.world import World, call, talk, world, write

SUITES = (1, 2)
CURVES = {1: "P-256", 2: "P-384"}
NOW = datetime.now(UTC)
VALIDITY = Validity(datetime(2020, 1, 1, tzinfo=UTC), datetime(2080, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(
    ("role", "mechanism"), [("manager", 7), ("operator", 7), ("installer", 5), ("public", 0)]
)
def test_every_role_signs_on(suite: int, role: str, mechanism: int) -> None:
    here = world(preset=f"suite{suite}")
    client = here.signed_on(role)
    assert client.machine.profile.mechanism == mechanism
    assert client.get(8, "0.0.1.0.0.255")
    assert client.machine.profile.setup.suite.id == suite
    assert here.signed_on("manager").get(64, "0.0.43.0.2.255", 3) == suite


@pytest.mark.parametrize("suite", SUITES)
def test_key_pairs_one_for_each_purpose_on_the_suites_curve(suite: int) -> None:
    pairs = world(preset=f"suite{suite}").meter.pairs
    assert pairs is not None
    keys = [own.key for own in map(pairs.own, (SIGNATURE, AGREEMENT, TLS))]
    assert all(key is not None and key.curve.name == CURVES[suite] for key in keys)
    assert len({key.public.octets for key in keys if key is not None}) == 3
    for own in map(pairs.own, (SIGNATURE, AGREEMENT, TLS)):
        assert own.certificate is not None and own.key is not None
        assert own.certificate.key.octets == own.key.public.octets
        assert own.certificate.purpose is own.kind.purpose and own.certificate.title == pairs.title


@pytest.mark.parametrize("suite", SUITES)
def test_the_same_state_is_the_same_meter(suite: int, tmp_path: Path) -> None:
    here = world(preset=f"suite{suite}", folder=tmp_path / "state")
    assert here.meter.pairs is not None
    held = here.meter.pairs.held()
    first = here.meter.pairs.own(SIGNATURE).key
    here.signed_on("operator")
    here.restart()
    assert here.meter.pairs.held() == held
    again = here.meter.pairs.own(SIGNATURE).key
    assert first is not None and again is not None and first.public == again.public
    assert here.signed_on("operator").get(3, "1.0.1.8.0.255")


def test_a_state_folder_belongs_to_one_suite(tmp_path: Path) -> None:
    world(preset="suite1", folder=tmp_path / "state").meter.close()
    for preset in ("suite0", "suite2"):
        with pytest.raises(ConfigurationError, match="suite 1"):
            Meter(load_plan(preset), tmp_path / "state")


def test_a_role_that_is_added_later_gets_its_pair(tmp_path: Path) -> None:
    world(preset="suite1", folder=tmp_path / "state").meter.close()
    text = (
        '[roles.extra]\nclient = 9\nmechanism = "ecdsa"\npolicy = "authenticated+encrypted"\n'
        'client_system_title = "4D534C4845530009"\n'
        '[[roles.extra.rights]]\nobjects = ["*.*.*.*.*.*"]\nattributes = "read"\nmethods = "access"\n'
    )
    here = world(text, tmp_path / "state", tmp_path, "suite1")
    assert here.signed_on("extra").get(3, "1.0.1.8.0.255")


def test_a_role_by_gmac_that_has_to_sign(tmp_path: Path) -> None:
    """A right that asks for a signature gives the client its pairs, whatever it signs on by."""
    text = (
        '[[roles.installer.rights]]\nobjects = ["0.0.96.3.10.255"]\nmethods = { 1 = "access sign-request" }\n'
    )
    here = world(text, tmp_path / "state", tmp_path, "suite1")
    role = here.credentials.role("installer")
    assert (role.mechanism, role.signed) == ("gmac", ("70/0.0.96.3.10.255:1()",))
    assert role.signing_key is not None and here.credentials.role("public").signing_key is None
    client = here.client("installer")
    off = call(70, "0.0.96.3.10.255", 1)
    client.run(client.machine.associate(random_octets(16), random_octets(8)))
    assert client.one(off).code == 0x0D
    (found,) = client.run(client.machine.request([off], added=SIGNED))
    assert isinstance(found, Confirmed) and found.outcomes[0].code == 0


def test_keys_have_the_length_of_the_suite(tmp_path: Path) -> None:
    here = world(preset="suite2")
    for ring in here.meter.rings.values():
        assert {len(ring.reveal(key_id)) for key_id in range(4)} == {32}
    path = tmp_path / "meter.toml"
    path.write_text(f'[roles.operator]\nguek = "{"11" * 16}"\n')
    with pytest.raises(
        ConfigurationError, match=r"\[roles.operator\] guek: a key of suite 2 has 32 octets, not 16"
    ):
        load_plan("suite2", path)
    with pytest.raises(ConfigurationError, match=r"\[roles.signer\] mechanism: ecdsa is for suites 1 and 2"):
        path.write_text(
            '[roles.signer]\nclient = 9\nmechanism = "ecdsa"\nclient_system_title = "4D534C4845530009"\n'
        )
        load_plan("suite0", path)


# --- anchors of somebody else -------------------------------------------------------------------


ROOT = Authority.root(SigningKey.generate(curve("P-256")), "Utility root", VALIDITY)


def bare(tmp_path: Path, config: str = "") -> World:
    """A meter that was made with the anchor of a utility, and no certificates."""
    (tmp_path / "root.pem").write_bytes(ROOT.certificate.to_pem())
    text = f'[meter]\ntrust = ["root.pem"]\n{config}'
    return world(text, tmp_path / "state", tmp_path, "suite1")


def test_a_bare_meter_has_pairs_and_no_certificates(tmp_path: Path) -> None:
    here = bare(tmp_path)
    pairs = here.meter.pairs
    assert pairs is not None and pairs.held() == [ROOT.certificate]
    assert all(pairs.own(kind).key is not None for kind in (SIGNATURE, AGREEMENT, TLS))
    assert maker_of(here.meter.store) is None
    assert here.signed_on("installer").get(8, "0.0.1.0.0.255")


def test_a_client_of_the_anchors_authority_signs_on_at_a_bare_meter(tmp_path: Path) -> None:
    """Its certificate comes along; the meter's key is one that the client knows."""
    here = bare(tmp_path)
    client = here.client("operator")
    setup, key = client.machine.profile.setup, SigningKey.generate(curve("P-256"))
    setup.signing = key
    setup.certificate = ROOT.issue(key.public, setup.own_title, Purpose.SIGNATURE, VALIDITY).der
    own = here.meter.pairs.own(SIGNATURE).key  # type: ignore[union-attr]
    assert isinstance(own, SigningKey)
    made = ROOT.issue(own.public, here.meter.system_title, Purpose.SIGNATURE, VALIDITY)
    setup.directory.pin(made)  # type: ignore[attr-defined]
    assert any(isinstance(effect, Associated) for effect in client.try_sign_on())


def operators(tmp_path: Path, title: bytes, by: Authority = ROOT) -> tuple[SigningKey, Certificate]:
    """A file with the certificates of an operator; its signature key and certificate."""
    key, agrees = SigningKey.generate(curve("P-256")), AgreementKey.generate(curve("P-256"))
    signs = by.issue(key.public, title, Purpose.SIGNATURE, VALIDITY)
    agreement = by.issue(agrees.public, title, Purpose.AGREEMENT, VALIDITY)
    above = b"" if by is ROOT else by.certificate.to_pem()
    (tmp_path / "operator.pem").write_bytes(signs.to_pem() + agreement.to_pem() + above)
    return key, signs


OPERATOR = '[roles.operator]\ncertificates = ["operator.pem"]\n'


@pytest.mark.parametrize("below", [False, True])
def test_certificates_of_a_role_come_with_the_configuration(below: bool, tmp_path: Path) -> None:
    """The client then needs to send none; what was removed does not come back with the next start."""
    role = load_plan("suite1").role("operator")
    assert role is not None and role.client_system_title is not None
    by = ROOT.sub(SigningKey.generate(curve("P-256")), "Utility clients", VALIDITY) if below else ROOT
    key, signs = operators(tmp_path, role.client_system_title, by)
    here = bare(tmp_path, OPERATOR)
    client = here.client("operator")
    setup, own = client.machine.profile.setup, here.meter.pairs.own(SIGNATURE).key  # type: ignore[union-attr]
    setup.signing, setup.certificate = key, None
    assert isinstance(own, SigningKey)
    made = ROOT.issue(own.public, here.meter.system_title, Purpose.SIGNATURE, VALIDITY)
    setup.directory.pin(made)  # type: ignore[attr-defined]
    assert any(isinstance(effect, Associated) for effect in client.try_sign_on())
    trust = here.meter.pairs.trust  # type: ignore[union-attr]
    assert trust.find(role.client_system_title, Purpose.AGREEMENT) is not None
    here.meter.pairs.remove(signs)  # type: ignore[union-attr]
    here.meter.close()
    again = Meter(load_plan("suite1", tmp_path / "meter.toml"), tmp_path / "state")
    assert (
        again.pairs is not None
        and again.pairs.trust.find(role.client_system_title, Purpose.SIGNATURE) is None
    )
    again.close()


def test_D11_D15_F20_certificates_of_a_role_that_do_not_hold(tmp_path: Path) -> None:
    role = load_plan("suite1").role("operator")
    assert role is not None and role.client_system_title is not None
    operators(tmp_path, b"MSLHES99")
    with pytest.raises(ConfigurationError, match="role operator: a certificate of somebody else"):
        bare(tmp_path / "", OPERATOR)
    stranger = Authority.root(SigningKey.generate(curve("P-256")), "Stranger", VALIDITY)
    key = SigningKey.generate(curve("P-256"))
    made = stranger.issue(key.public, role.client_system_title, Purpose.SIGNATURE, VALIDITY)
    (tmp_path / "operator.pem").write_bytes(made.to_pem())
    with pytest.raises(ConfigurationError, match="role operator: no way to a trust anchor"):
        world('[meter]\ntrust = ["root.pem"]\n' + OPERATOR, tmp_path / "other", tmp_path, "suite1")
    (tmp_path / "meter.toml").write_text(OPERATOR)
    with pytest.raises(ConfigurationError, match="suite 0 has no certificates"):
        load_plan("suite0", tmp_path / "meter.toml")


def test_D21_the_anchors_of_a_state_folder_stay(tmp_path: Path) -> None:
    bare(tmp_path).meter.close()
    other = Authority.root(SigningKey.generate(curve("P-256")), "Utility root", VALIDITY)
    (tmp_path / "root.pem").write_bytes(other.certificate.to_pem())
    with pytest.raises(ConfigurationError, match="other trust anchors"):
        Meter(load_plan("suite1", tmp_path / "meter.toml"), tmp_path / "state")


@pytest.mark.parametrize(
    ("content", "cause"), [(None, "root.pem: No such file"), (b"nothing", "PEM"), (b"", "PEM")]
)
def test_F20_anchors_that_cannot_be_read(content: bytes | None, cause: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "root.pem").write_bytes(content)
    path = tmp_path / "meter.toml"
    path.write_text('[meter]\ntrust = ["root.pem"]\n')
    with pytest.raises(ConfigurationError, match=rf"\[meter\] trust: .*{cause}"):
        load_plan("suite1", path)
    (tmp_path / "root.pem").write_bytes(ROOT.certificate.to_pem())
    with pytest.raises(ConfigurationError, match="suite 0 has no certificates"):
        load_plan("suite0", path)


# --- who is refused -----------------------------------------------------------------------------


def other_key(here: World, setup: SecuritySetup) -> None:
    setup.signing = SigningKey.generate(setup.signing_key().curve)


def no_certificate_of_this_maker(here: World, setup: SecuritySetup) -> None:
    stranger = Authority.root(SigningKey.generate(setup.signing_key().curve), "Root", VALIDITY)
    issued = stranger.issue(setup.signing_key().public, setup.own_title, Purpose.SIGNATURE, VALIDITY)
    setup.certificate = issued.der


def issue(here: World, setup: SecuritySetup, **changes: object) -> None:
    maker = maker_of(here.meter.store)
    assert maker is not None
    title = changes.get("title", setup.own_title)
    validity = changes.get("validity", VALIDITY)
    assert isinstance(title, bytes) and isinstance(validity, Validity)
    setup.certificate = maker.issue(setup.signing_key().public, title, Purpose.SIGNATURE, validity).der


def other_title(here: World, setup: SecuritySetup) -> None:
    setup.signing = SigningKey.generate(setup.signing_key().curve)
    issue(here, setup, title=b"MSLHES\x00\x09")


def expired(here: World, setup: SecuritySetup) -> None:
    setup.signing = SigningKey.generate(setup.signing_key().curve)
    begin = datetime(2001, 1, 1, tzinfo=UTC)
    issue(here, setup, validity=Validity(begin, begin + timedelta(days=1)))


def not_yet(here: World, setup: SecuritySetup) -> None:
    setup.signing = SigningKey.generate(setup.signing_key().curve)
    issue(here, setup, validity=Validity(datetime(2090, 1, 1, tzinfo=UTC)))


def for_agreement(here: World, setup: SecuritySetup) -> None:
    maker = maker_of(here.meter.store)
    assert maker is not None
    public = AgreementKey.generate(setup.signing_key().curve).public
    setup.certificate = maker.issue(public, setup.own_title, Purpose.AGREEMENT, VALIDITY).der


def other_curve(here: World, setup: SecuritySetup) -> None:
    """D20: a P-256 key under the P-384 root of a suite-2 meter, or the other way round where one can."""
    maker = maker_of(here.meter.store)
    assert maker is not None
    setup.signing = SigningKey.generate(curve("P-256"))
    setup.certificate = maker.issue(setup.signing.public, setup.own_title, Purpose.SIGNATURE, VALIDITY).der


def nonsense(here: World, setup: SecuritySetup) -> None:
    setup.certificate = bytes.fromhex("3080020100")


FAULTS = (other_key, no_certificate_of_this_maker, other_title, expired, not_yet, for_agreement, nonsense)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("spoil", FAULTS)
def test_B17_D11_D12_D14_who_is_refused(suite: int, spoil: Callable[[World, SecuritySetup], None]) -> None:
    """One answer to all of them before pass 3, and nothing of what was held has changed."""
    here = world(preset=f"suite{suite}")
    client = here.client("operator")
    spoil(here, client.machine.profile.setup)
    effects = client.try_sign_on()
    assert not any(isinstance(effect, Associated) for effect in effects)
    assert here.signed_on("operator").get(3, "1.0.1.8.0.255")


@pytest.mark.parametrize(("shown", "spoil"), [(2001, expired), (2098, not_yet)])
def test_D12_who_sets_the_clock_has_no_say_in_who_is_trusted(
    shown: int, spoil: Callable[[World, SecuritySetup], None]
) -> None:
    """Set back or ahead by the installer it shuts nobody out, and makes nothing good that is out of date."""
    here = world(preset="suite1")
    time = bytes.fromhex(f"{shown:04X}0101FF0C0000FF800000")
    asked = write(8, "0.0.1.0.0.255", 2, time, Tag.OCTET_STRING)
    assert here.signed_on("installer").ask(asked)[0].code == 0
    client = here.client("operator")
    spoil(here, client.machine.profile.setup)
    assert not any(isinstance(effect, Associated) for effect in client.try_sign_on())
    for role in ("operator", "manager"):
        assert here.signed_on(role).get(8, "0.0.1.0.0.255")


def valid_in_the_thirties(here: World, setup: SecuritySetup) -> None:
    setup.signing = SigningKey.generate(setup.signing_key().curve)
    issue(here, setup, validity=Validity(datetime(2029, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)))


@pytest.mark.parametrize(("years", "taken"), [(0, False), (10, True), (-10, False), (30, False)])
def test_D12_a_meter_goes_by_the_clock_that_it_was_given(years: int, taken: bool, tmp_path: Path) -> None:
    """A certificate for 2029 to 2039, at a meter of the year 2025 that is made to live in another."""
    here = world(f"[meter]\nclock_offset = {years * 365 * 86_400}\n", tmp=tmp_path, preset="suite1")
    client = here.client("operator")
    valid_in_the_thirties(here, client.machine.profile.setup)
    assert any(isinstance(effect, Associated) for effect in client.try_sign_on()) is taken


def test_D20_a_key_on_another_curve_than_the_suites() -> None:
    here = world(preset="suite2")
    client = here.client("operator")
    other_curve(here, client.machine.profile.setup)
    assert not any(isinstance(effect, Associated) for effect in client.try_sign_on())
    assert here.signed_on("operator").get(8, "0.0.1.0.0.255")


def test_what_is_wrong_with_a_certificate_is_not_told() -> None:
    here, answers = world(preset="suite1"), set()
    for spoil in (no_certificate_of_this_maker, other_title, expired, not_yet, for_agreement, nonsense):
        client = here.client("operator")
        spoil(here, client.machine.profile.setup)
        (aarq,) = client.machine.associate(random_octets(32))
        assert isinstance(aarq, Reply)
        answers.add(client.line.ask(aarq.octets, client.sap))
    assert len(answers) == 1 and answers.pop()[0] == 0x61


# --- files for clients --------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES)
def test_credentials_with_their_files(suite: int, tmp_path: Path) -> None:
    here = world(preset=f"suite{suite}", seconds=NOW.timestamp())
    path = tmp_path / "meter.toml"
    write_credentials(here.meter, path, "tcp://127.0.0.1:4059")
    loaded, folder = Credentials.load(path), tmp_path / "meter.toml.files"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    names = {file.name for file in folder.iterdir()}
    assert names == {
        "root.pem", "meter-sign.pem", "meter-agree.pem",
        *(f"{role}-{what}" for role in ("manager", "operator", "utility")
          for what in ("sign.key", "sign.pem", "agree.key", "agree.pem")),
    }  # fmt: skip
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in folder.iterdir())
    operator, installer = loaded.role("operator"), loaded.role("installer")
    assert operator.signing_key == "meter.toml.files/operator-sign.key" and installer.signing_key is None
    own = Certificate.from_pem((tmp_path / str(operator.signing_certificate)).read_bytes())[0]
    assert own.title == operator.client_system_title
    assert "PRIVATE" not in path.read_text()


@pytest.mark.parametrize("form", ["identified", "one-pass", "static"])
@pytest.mark.parametrize("suite", SUITES)
def test_signed_and_ciphered_in_layers_and_once_for_all(suite: int, form: str, tmp_path: Path) -> None:
    """Answers are signed like for like; what has come stays known over a restart (D07)."""
    both = policy_bits(AUTHENTICATED | ENCRYPTED | SIGNED, AUTHENTICATED | ENCRYPTED)
    here = world(preset=f"suite{suite}", folder=tmp_path / "state")
    client = here.client("operator")
    profile = client.machine.profile
    profile.layers, profile.setup.policy = form, both
    challenge = bytes(range(32))
    effects = client.line.run(talk(client.machine, client.machine.associate(challenge, bytes(8))), client.sap)
    assert effects == [Associated(None)]
    assert client.get(8, "0.0.1.0.0.255")
    sent: list[bytes] = []
    put = client.line.put

    def noted(apdu: bytes, client: int, server: int = 1) -> None:
        sent.append(apdu)
        put(apdu, client, server)

    client.line.put = noted
    assert client.get(8, "0.0.1.0.0.255")
    floor = here.meter.rings[client.sap].setup.fresh.rx.lowest
    assert (floor > 0) == (form != "identified")
    here.restart()
    assert here.meter.rings[client.sap].setup.fresh.rx.lowest >= floor
    later = here.signed_on("operator")
    assert later.line.ask(sent[0], later.sap)[:3] == bytes.fromhex("D80106")
