"""The web client as deployed: who gets how far with which token, and what the template says around that."""

import json
import time
from typing import Any

import pytest

from gateway.config import Api, Config
from tests.infra.deployment import ENDPOINT, Deployed, transformed
from tests.infra.ministack import LACKING, STACK, Ministack

OPEN = ("/", "/docs", "/healthz", "/readyz", "/page/style.css")
BEHIND_SIGN_IN = ("/api/v1/studies", "/api/v1/jobs/none", "/metrics", "/openapi.json")
DEADLINE_S = 60.0
SOON_OVER_S = 3
IDENTIFYING = {"path", "rawPath", "sourceIp", "identity", "userAgent", "claims", "queryString"}

pytestmark = pytest.mark.peer("ministack")


def is_refused(web: Ministack, path: str, token: str = "") -> bool:
    """Whether API Gateway itself sends the request away, so that the function never sees it."""
    answer = web.ask(path, token)
    return answer.status == 401 and answer.json() == {"message": "Unauthorized"}


# -- tokens -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", BEHIND_SIGN_IN)
def test_request_without_a_token_or_with_a_made_up_one_never_reaches_the_function(
    web: Ministack, path: str
) -> None:
    assert is_refused(web, path)
    assert is_refused(web, path, "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl")


@pytest.mark.parametrize("path", OPEN)
def test_page_its_files_and_the_probes_are_reached_without_a_token(web: Ministack, path: str) -> None:
    assert not is_refused(web, path)
    assert web.ask(path).status in (200, 401)  # the second is the function's own


def test_path_of_no_route_is_answered_by_api_gateway(web: Ministack) -> None:
    assert (web.ask("/admin").status, web.ask("/admin").json()) == (404, {"message": "Not Found"})


def test_viewer_reads_and_may_not_act(web: Ministack) -> None:
    token = web.signed_in("vera")["access_token"]
    assert web.ask("/api/v1/studies", token).json() == {"items": [], "next_cursor": None, "total": None}
    assert web.ask("/metrics", token).status == 200
    assert web.ask("/openapi.json", token).json()["info"]
    refused = web.ask("/api/v1/jobs/none/cancel", token, "POST")
    assert (refused.status, "operator" in refused.json()["detail"]) == (403, True)


def test_admin_may_act(web: Ministack) -> None:
    token = web.signed_in("ada")["access_token"]
    assert web.ask("/api/v1/studies", token).status == 200
    acted = web.ask("/api/v1/jobs/none/cancel", token, "POST")
    assert (acted.status, acted.headers["content-type"]) == (404, "application/problem+json")


def test_person_in_neither_group_is_refused_by_the_function(web: Ministack) -> None:
    token = web.signed_in("nobody")["access_token"]
    refused = web.ask("/api/v1/studies", token)
    assert (refused.status, "none of the groups" in refused.json()["detail"]) == (403, True)


def test_token_with_another_signature_is_refused(web: Ministack) -> None:
    head, claims, signature = web.signed_in("vera")["access_token"].split(".")
    other = signature[:10] + ("A" if signature[10] != "A" else "B") + signature[11:]
    assert not is_refused(web, "/api/v1/studies", f"{head}.{claims}.{signature}")
    assert is_refused(web, "/api/v1/studies", f"{head}.{claims}.{other}")


def another_client(web: Ministack, **different: Any) -> str:
    """A further client of the pool, as the stack's but for what is said; its id."""
    cognito, pool = web.client("cognito-idp"), web.outputs["UserPoolId"]
    ours = cognito.describe_user_pool_client(UserPoolId=pool, ClientId=web.outputs["UserPoolClientId"])
    kept = ("AllowedOAuthFlows", "AllowedOAuthFlowsUserPoolClient", "AllowedOAuthScopes", "CallbackURLs")
    settings = {name: ours["UserPoolClient"][name] for name in (*kept, "SupportedIdentityProviders")}
    made = cognito.create_user_pool_client(UserPoolId=pool, ClientName="other", **settings, **different)
    return str(made["UserPoolClient"]["ClientId"])


def test_token_for_another_client_of_the_pool_is_refused(web: Ministack) -> None:
    tokens = web.signed_in("ada", another_client(web))
    assert is_refused(web, "/api/v1/studies", tokens["access_token"])


def test_token_is_refused_from_its_end_on(web: Ministack) -> None:
    client = another_client(
        web,
        AccessTokenValidity=SOON_OVER_S,
        TokenValidityUnits={"AccessToken": "seconds"},  # Cognito itself gives five minutes at least
    )
    api = web.client("apigatewayv2")
    [authorizer] = api.get_authorizers(ApiId=web.api_id)["Items"]
    configured = authorizer["JwtConfiguration"]
    both = {**configured, "Audience": [*configured["Audience"], client]}
    api.update_authorizer(ApiId=web.api_id, AuthorizerId=authorizer["AuthorizerId"], JwtConfiguration=both)
    started = time.monotonic()
    token = web.signed_in("ada", client)["access_token"]
    is_let_in = not is_refused(web, "/api/v1/studies", token)
    assert is_let_in or time.monotonic() - started > SOON_OVER_S
    while not is_refused(web, "/api/v1/studies", token):
        assert time.monotonic() - started < DEADLINE_S
        time.sleep(0.1)
    api.update_authorizer(
        ApiId=web.api_id, AuthorizerId=authorizer["AuthorizerId"], JwtConfiguration=configured
    )


# -- what was deployed ------------------------------------------------------------------------------------


def test_stack_lacks_in_ministack_only_what_it_is_known_not_to_make(web: Ministack) -> None:
    found = web.client("cloudformation").list_stack_resources(StackName=STACK)
    made = {each["ResourceType"] for each in found["StackResourceSummaries"]}
    wanted = {of["Type"] for of in transformed()["Resources"].values()}
    conditional = {  # of a private network, an audit, a hospital's directory, a gateway with an access key
        *("AWS::EC2::VPCEndpoint", "AWS::CloudTrail::Trail", "AWS::IAM::User"),
        "AWS::Cognito::UserPoolIdentityProvider",
    }
    assert {kind for kind in wanted - made - conditional if not kind.startswith(LACKING)} == set()


def test_client_is_public_and_leads_back_to_the_api_alone(web: Ministack) -> None:
    cognito, pool = web.client("cognito-idp"), web.outputs["UserPoolId"]
    client = cognito.describe_user_pool_client(UserPoolId=pool, ClientId=web.outputs["UserPoolClientId"])[
        "UserPoolClient"
    ]
    assert "ClientSecret" not in client
    assert (client["AllowedOAuthFlows"], client["AllowedOAuthScopes"]) == (["code"], ["openid"])
    assert client["CallbackURLs"] == client["LogoutURLs"] == [f"{web.outputs['ApiEndpoint']}/"]
    assert client["PreventUserExistenceErrors"] == "ENABLED"
    assert client["ExplicitAuthFlows"] == ["ALLOW_REFRESH_TOKEN_AUTH"]  # no password but on Cognito's page
    found = cognito.describe_user_pool(UserPoolId=pool)["UserPool"]
    assert found["AdminCreateUserConfig"]["AllowAdminCreateUserOnly"] is True
    assert (found["MfaConfiguration"], found["DeletionProtection"]) == ("ON", "ACTIVE")
    groups = cognito.list_groups(UserPoolId=pool)["Groups"]
    assert {group["GroupName"] for group in groups} == {"admin", "viewer"}


def test_bucket_takes_pages_of_the_api_alone_for_its_own(web: Ministack) -> None:
    [rule] = web.client("s3").get_bucket_cors(Bucket=web.outputs["Bucket"])["CORSRules"]
    assert rule["AllowedOrigins"] == [web.outputs["ApiEndpoint"]]
    assert set(rule["AllowedMethods"]) == {"PUT", "GET", "HEAD"}
    assert "*" not in rule["AllowedHeaders"]


def test_only_the_api_may_call_the_status_function(web: Ministack) -> None:
    policy = json.loads(web.client("lambda").get_policy(FunctionName=f"{STACK}-status")["Policy"])
    [statement] = policy["Statement"]
    assert statement["Principal"] == {"Service": "apigateway.amazonaws.com"}
    assert f":{web.api_id}/" in str(statement["Condition"])


def test_request_log_names_routes_and_nobody(web: Ministack) -> None:
    [stage] = web.client("apigatewayv2").get_stages(ApiId=web.api_id)["Items"]
    settings = stage["AccessLogSettings"]
    assert f"/aws/vendedlogs/{STACK}-api" in settings["DestinationArn"]
    line = json.loads(settings["Format"])
    assert line["route"] == "$context.routeKey"
    parts = {part for value in line.values() for part in value.removeprefix("$context.").split(".")}
    assert parts & IDENTIFYING == set()


# -- the template, with other parameters ------------------------------------------------------------------


def with_parameters(**parameters: str) -> Deployed:
    """The template's properties as they would be, without a deployment."""
    wanted = {name: str(of["Default"]) for name, of in transformed()["Parameters"].items()}
    return Deployed(None, STACK, wanted | parameters)  # type: ignore[arg-type]  # nothing is asked of AWS


def test_further_addresses_stand_beside_the_apis_own() -> None:
    found = with_parameters(
        OtherCallbackUrls="https://iris.example.org/,http://localhost:8080/",
        OtherUploadOrigins="https://iris.example.org",
    )
    client = found.resolved(transformed()["Resources"]["UserPoolClient"]["Properties"]["CallbackURLs"])
    assert client == [f"{ENDPOINT}/", "https://iris.example.org/", "http://localhost:8080/"]
    [rule] = found.resolved(
        transformed()["Resources"]["Bucket"]["Properties"]["CorsConfiguration"]["Fn::If"][1]["CorsRules"]
    )
    assert rule["AllowedOrigins"] == [ENDPOINT, "https://iris.example.org"]


SAML = {"SamlMetadataUrl": "https://idp.example.org/metadata.xml"}
OIDC = {
    "OidcIssuer": "https://idp.example.org",
    "OidcClientId": "pool",
    "OidcClientSecret": "never shown",
}


@pytest.mark.parametrize(
    ("parameters", "directory"), [({}, "COGNITO"), (SAML, "SamlDirectory"), (OIDC, "OidcDirectory")]
)
def test_people_sign_in_by_the_hospitals_own_directory_alone_where_there_is_one(
    parameters: dict[str, str], directory: str
) -> None:
    found = with_parameters(**parameters)
    [provider] = transformed()["Resources"]["UserPoolClient"]["Properties"]["SupportedIdentityProviders"]
    chosen = provider["Fn::If"][1] if parameters == SAML else provider["Fn::If"][2]
    if parameters != SAML:
        chosen = chosen["Fn::If"][1 if parameters else 2]
    assert chosen in (directory, {"Ref": directory})
    directories = [name for name in found.wanted if name.endswith("Directory")]
    assert directories == ([directory] if parameters else [])


def test_secret_of_the_directory_is_shown_nowhere() -> None:
    assert transformed()["Parameters"]["OidcClientSecret"]["NoEcho"] is True
    assert "OidcClientSecret" not in json.dumps(transformed()["Outputs"])


def test_addresses_that_may_ask_are_the_functions_own_list() -> None:
    value = transformed()["Resources"]["StatusFunction"]["Properties"]["Environment"]["Variables"]
    addresses = value["IRIS_API__ADDRESSES"]
    assert with_parameters().resolved(addresses) == "[]"
    listed = with_parameters(AllowedAddresses="192.0.2.0/24,2001:db8::/32").resolved(addresses)
    assert Api(addresses=json.loads(listed)).addresses == ["192.0.2.0/24", "2001:db8::/32"]


def test_without_web_client_nothing_of_it_is_made() -> None:
    found = with_parameters(WebClient="no")
    kinds = {of["Type"].partition("::")[2] for of in found.wanted.values()}
    assert [kind for kind in kinds if kind.startswith(("ApiGatewayV2", "Cognito", "Lambda"))] == []
    assert not [name for name in found.wanted if "JobNews" in name or "Status" in name]
    bucket = found.wanted["Bucket"]["Properties"]["CorsConfiguration"]
    assert found.resolved(bucket) is None


def test_variables_of_the_functions_are_keys_of_the_configuration() -> None:
    for function in ("StatusFunction", "JobNewsFunction"):
        variables = transformed()["Resources"][function]["Properties"]["Environment"]["Variables"]
        for name in variables:
            section, _, key = name.removeprefix("IRIS_").lower().partition("__")
            assert key in getattr(Config(), section).model_fields_set | set(
                type(getattr(Config(), section)).model_fields
            ), name


def test_what_the_functions_could_not_deliver_is_kept_and_given_up_after_a_while() -> None:
    resources = transformed()["Resources"]
    [target] = resources["JobNewsRule"]["Properties"]["Targets"]
    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["DeadJobNews", "Arn"]}}
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 3600
    again = resources["ReconcileRule"]["Properties"]
    assert again["ScheduleExpression"] == "rate(15 minutes)"
    assert json.loads(again["Targets"][0]["Input"]) == {"reconcile": True}
