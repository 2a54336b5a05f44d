"""`iris doctor` on who may ask."""

from pathlib import Path

from gateway.adapters.checks import Verdict
from gateway.commands.doctor_sign_in import examine_sign_in
from gateway.config import Api, Config
from gateway.config.oidc import Oidc
from gateway.config.roles import Role
from gateway.config.sections import Site
from tests.doubles.keycloak import KeycloakRealm


def test_doctor_warns_of_a_token_that_may_be_guessed(tmp_path: Path) -> None:
    config = Config(site=Site(data_dir=tmp_path))
    assert list(examine_sign_in(config)) == []
    (tmp_path / "admin-token").write_text("hospital\n")
    (tmp_path / "sender-token").write_text("x" * 43)
    (check,) = examine_sign_in(config)
    assert (check.name, check.verdict) == ("admin-token", Verdict.WARNING)
    assert "hospital" not in check.finding


def test_doctor_says_whether_the_issuer_of_sign_ins_answers(tmp_path: Path) -> None:
    realm = KeycloakRealm("anna", {})
    oidc = Oidc(issuer=realm.issuer, client_id="iris", groups={Role.ADMIN: ["a"]})
    config = Config(site=Site(data_dir=tmp_path), api=Api(auth="oidc", oidc=oidc))
    (check,) = examine_sign_in(config)
    assert (check.verdict, f"at {realm.url}/realms/hospital/" in check.finding) == (Verdict.OK, True)
    realm.close()
    (check,) = examine_sign_in(config)
    assert (check.verdict, "cannot be reached" in check.finding) == (Verdict.FAILED, True)
