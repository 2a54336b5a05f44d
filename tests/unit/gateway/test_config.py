"""The configuration: defaults, the file, variables, and the sentence for whatever cannot be used."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from gateway.config import Config, ConfigError, Destination, Rule, load_config
from gateway.config.sentences import in_sentences
from gateway.configured import warnings_about

Loader = Callable[[str], Config]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("IRIS_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def load(tmp_path: Path) -> Loader:
    def from_text(text: str) -> Config:
        path = tmp_path / "iris.toml"
        path.write_text(text, encoding="utf-8")
        return load_config(path)

    return from_text


def test_config_without_file_has_the_documented_defaults() -> None:
    config = load_config()
    assert config.model_dump(mode="json") == {
        "site": {
            "name": "demo",
            "data_dir": "iris-data",
            "secret_file": "",
            "time_zone": "",
            "issuer_of_patient_id": "",
            "low_water_mb": 1024,
        },
        "retention": {
            "images_days": 0,
            "results_days": 0,
            "uploads_days": 0,
            "quarantine_days": 0,
            "ledger_days": 0,
            "min_free_mb": 0,
        },
        "dicom": {
            "ae_title": "IRIS",
            "host": "127.0.0.1",
            "port": 11112,
            "max_associations": 32,
            "allow": [],
            "check_called_ae_title": False,
            "commitment": False,
            "max_object_mb": 8192,
            "tls": {"certificate": "", "key": "", "client_ca": ""},
            "tls_port": None,
        },
        "study": {
            "quiet_s": 5.0,
            "timeout_s": 60.0,
            "quiet_adaptive": False,
            "find": {
                "ae_title": "",
                "host": "",
                "port": 0,
                "tls": {"ca": "", "certificate": "", "key": ""},
            },
        },
        "destination": [],
        "rule": [
            {
                "name": "ct",
                "when": {"Modality": "CT"},
                "task": "",
                "options": {},
                "outputs": ["seg"],
                "send_to": None,
                "priority": 0,
                "on_flags": "mark",
                "hold_flags": ["sides_contradict", "regions_contradict", "air_not_minus_1000"],
                "choose": "best",
                "compare": False,
                "leave_site": True,
                "regions": [],
            }
        ],
        "engine": {
            "name": "threshold",
            "version": "",
            "model": "",
            "command": [],
            "image": "",
            "task": "",
            "modality": "",
        },
        "queue": {
            "backend": "local",
            "workers": 1,
            "keep_warm_s": 600.0,
            "stage_workers": 2,
            "local_timeout_s": 14400.0,
            "stall_s": 900.0,
            "max_jobs_per_hour": 0,
            "job_queue": "",
            "job_definition": "",
            "timeout_s": 7200.0,
            "attempts": 5,
            "reconcile_s": 180.0,
            "unseen_s": 60.0,
            "usd_per_hour": {"g4dn.xlarge": 0.526, "g5.xlarge": 1.006, "g6.xlarge": 0.805},
            "urgent": {"job_queue": "", "priority": 1},
            "fallback": {
                "after_s": 1800.0,
                "job_queue": "",
                "job_definition": "",
                "options": {},
                "region": "",
                "bucket": "",
                "prefix": "",
                "kms_key": "",
                "news_queue_url": "",
            },
        },
        "objects": {"backend": "local", "bucket": "", "prefix": "", "kms_key": ""},
        "news": {"backend": "local", "queue_url": ""},
        "mirror": {
            "backend": "none",
            "table": "",
            "keep_days": 90,
            "files_of": "own",
            "layout": "own",
            "web_table": "",
            "web_user": "",
        },
        "watch": {"backend": "none", "namespace": "IrisGateway", "every_s": 60.0},
        "notify": {
            "webhooks": [],
            "mails": [],
            "smtp": {
                "host": "",
                "port": None,
                "security": "starttls",
                "user": "",
                "password": "",
                "password_file": "",
                "sender": None,
                "tls": {"ca": "", "certificate": "", "key": ""},
            },
            "waiting_minutes": 60.0,
            "daily_at": "07:00",
            "every_minutes": 5.0,
            "give_up_after_h": 24.0,
        },
        "traces": {"endpoint": ""},
        "aws": {"region": "us-east-1", "endpoint_url": ""},
        "api": {
            "host": "127.0.0.1",
            "port": 8080,
            "addresses": [],
            "proxies": [],
            "auth": "token",
            "max_upload_mb": 2048,
            "oidc": {"issuer": "", "client_id": "", "audience": "", "groups_claim": "groups", "groups": {}},
            "sign_in_url": "",
            "sign_in_client": "",
            "public_url": "",
            "viewer_url": "",
        },
        "seg": {
            "type": "binary",
            "transfer_syntax": "",
            "crop": False,
            "background_item": True,
            "even_grid": False,
            "series_description": "IRIS {task} (research) {source_description}",
            "series_number": 9000,
        },
        "overlay": {"plane": "source", "transfer_syntax": "explicit", "max_mb": 500.0},
    }


def test_config_from_every_documented_key_is_read(load: Loader) -> None:
    config = load(
        """
        [site]
        name = "ward-7"
        data_dir = "/var/lib/iris"
        [dicom]
        ae_title = "SEGMENTER"
        port = 104
        allow = [{ ae_title = "ORTHANC", address = "10.1.0.0/16" }]
        [study]
        quiet_s = 1
        [[destination]]
        name = "pacs"
        ae_title = "ORTHANC"
        host = "pacs.example"
        port = 4242
        [[rule]]
        name = "thin"
        when = { Modality = "CT", slice_spacing_mm = "<=3", ImageType = ["AXIAL", "HELIX"] }
        options = { fast = false }
        send_to = ["pacs"]
        """
    )
    assert config.site.name == "ward-7"
    assert config.data_dir == Path("/var/lib/iris")
    assert config.secret_path == Path("/var/lib/iris/site-secret")
    assert config.dicom.allow[0].address == "10.1.0.0/16"
    assert config.rule[0].when["ImageType"] == ["AXIAL", "HELIX"]
    assert config.rule[0].options == {"fast": False}
    assert [d.name for d in config.destinations_of(config.rule[0])] == ["pacs"]


def test_rule_without_send_to_goes_to_every_destination(load: Loader) -> None:
    config = load(
        """
        [[destination]]
        name = "one"
        ae_title = "ONE"
        host = "localhost"
        port = 104
        [[destination]]
        name = "two"
        ae_title = "TWO"
        host = "localhost"
        port = 105
        """
    )
    assert [d.name for d in config.destinations_of(config.rule[0])] == ["one", "two"]
    assert config.destinations_of(Rule(name="nowhere", send_to=[])) == []


def test_variable_wins_over_the_file_and_leaves_its_neighbours(
    load: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRIS_DICOM__PORT", "0")
    config = load('[dicom]\nport = 104\nae_title = "KEPT"')
    assert (config.dicom.port, config.dicom.ae_title) == (0, "KEPT")


def test_variable_with_a_list_is_read_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRIS_DICOM__ALLOW", '[{"ae_title": "PACS", "address": "10.0.0.0/8"}]')
    monkeypatch.setenv("IRIS_RULE", '[{"name": "all", "when": {"images": ">=20"}}]')
    config = load_config()
    assert config.dicom.allow[0].ae_title == "PACS"
    assert config.rule[0].when == {"images": ">=20"}


@pytest.mark.parametrize("value", ["PACS", "[{"])
def test_variable_that_should_be_json_and_is_not_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("IRIS_DICOM__ALLOW", value)
    with pytest.raises(ConfigError, match=r"IRIS_DICOM__ALLOW.*JSON"):
        load_config()


@pytest.mark.parametrize("name", ["IRIS_DICOMM__PORT", "IRIS_DICOM__PROT", "iris_dicomm__port"])
def test_variable_that_no_key_has_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError, match="unknown key"):
        load_config()


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("IRIS_DICOM_PORT", "IRIS_DICOM__PORT"),
        ("IRIS_DICOM_AE_TITLE", "IRIS_DICOM__AE_TITLE"),
        ("IRIS_DICOM_PROT", "IRIS_DICOM__PORT"),
        ("IRIS_DICOM__TLS_KEY", "IRIS_DICOM__TLS__KEY"),
        ("iris_queue_fallback_job_queue", "IRIS_QUEUE__FALLBACK__JOB_QUEUE"),
    ],
)
def test_variable_with_too_few_underscores_is_refused_with_the_right_name(
    monkeypatch: pytest.MonkeyPatch, name: str, right: str
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError, match=rf"{name}: no key is set by that; it is {right}, "):
        load_config()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("[dicom]\nprot = 1", "dicom.port"),
        ("[dicomm]\nport = 1", "dicom"),
        ("[dicom.tls]\ncertficate = 'x'", "dicom.tls.certificate"),
        ("[[rule]]\nname = 'a'\nsendto = ['x']", "rule.send_to"),
        ("[site]\nquiet_s = 1", "study.quiet_s"),
    ],
)
def test_unknown_key_is_refused_with_the_one_that_may_be_meant(load: Loader, text: str, meant: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(text)
    assert f"unknown key; did you mean {meant}? " in str(refused.value)


def test_key_that_is_like_no_other_is_refused_without_a_guess(load: Loader) -> None:
    with pytest.raises(ConfigError, match=r"site\.zzz: unknown key; every key stands in docs/operator\.md$"):
        load("[site]\nzzz = 1")


def _every_key(model: type[BaseModel], name: str = "") -> Iterator[str]:
    for key, field in model.model_fields.items():
        yield f"{name}{key}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _every_key(field.annotation, f"{name}{key}.")


def _with(key: str, value: object) -> dict[str, object]:
    table, _, rest = key.partition(".")
    return {table: _with(rest, value) if rest else value}


PYDANTICS_OWN = (
    "Input",
    "should",
    "Field required",
    "valid ",
    "pydantic",
    "errors.",
    "cannot be used as it is",
)


@pytest.mark.parametrize("value", ["\0", -1e300, float("nan"), 10**30, True, [], [[]], {}, {"x": 1}, None])
def test_no_sentence_about_a_bad_value_is_pydantics_own(value: object) -> None:
    keys = [*_every_key(Config), *(f"rule.{key}" for key in _every_key(Rule))]
    keys += [f"destination.{key}" for key in _every_key(Destination)]
    for key in keys:
        table, _, rest = key.partition(".")
        values = (
            {table: [_with(rest, value)]} if table in ("rule", "destination") and rest else _with(key, value)
        )
        try:
            Config.model_validate(values)
        except ValidationError as error:
            said = in_sentences(Config, [dict(each) for each in error.errors()])
            assert not [word for word in PYDANTICS_OWN if word in said], (key, said)


def test_bad_value_of_one_of_several_types_is_told_in_one_sentence_with_its_key(load: Loader) -> None:
    with pytest.raises(ConfigError) as refused:
        load("[[rule]]\nname = 'a'\nwhen = { Modality = { x = 1 } }")
    said = "must be a text or must be a whole number or must be a number or must be a list, as [ ... ]"
    assert str(refused.value) == f"rule.0.when.Modality: {said}"


def test_variables_of_the_job_and_of_the_tests_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRIS_RUN", "2")
    monkeypatch.setenv("IRIS_KILL_AT", "")
    monkeypatch.setenv("IRIS_API_OF_ANOTHER_PROGRAM", "1")
    assert load_config() == Config()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("x = 1", "x"),
        ("_env_file = 'x'", "_env_file"),
        ("[dicomm]\nport = 1", "dicomm"),
        ("[dicom]\nprot = 1", "dicom.prot"),
        ("[study.find]\nhostname = 'x'", "study.find.hostname"),
        ("[[rule]]\nname = 'a'\nif = 1", "rule.0.if"),
        ("[[destination]]\nname = 'a'\naet = 'x'", "destination.0.aet"),
    ],
)
def test_unknown_key_is_refused_with_its_name(load: Loader, text: str, key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(text)
    assert f"{key}: unknown key" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[dicom]\nport = 'x'", "dicom.port"),
        ("[dicom]\nport = 70000", "dicom.port"),
        ("[study]\nfind = { host = 'x' }", "study.find: needs ae_title, host and port"),
        ("[study]\nfind = { tls = { ca = 'x' } }", "study.find: needs ae_title, host and port"),
        ("[dicom]\nae_title = 'SEVENTEEN-LETTERS'", "dicom.ae_title"),
        ("[dicom]\nae_title = '   '", "dicom.ae_title"),
        ("[dicom]\nae_title = 'A\\B'", "dicom.ae_title"),
        ("[dicom]\nmax_associations = 0", "dicom.max_associations"),
        ("[dicom]\nallow = [{ ae_title = 'A', address = 'ward' }]", "dicom.allow.0.address"),
        ("[site]\nname = 'No Blanks'", "site.name"),
        ("[study]\nquiet_s = -1", "study.quiet_s"),
        ("[study]\ntimeout_s = nan", "study.timeout_s"),
        ("[[destination]]\nname = 'pacs'", "destination.0"),
        ("[[destination]]\nname = 'pacs'\nae_title = 'A'\nhost = 'h'\nport = 0", "destination.0.port"),
        ("[[destination]]\nname = 'p'\nstow = 'https://p'\nport = 104", "destination.0"),
        ("[[destination]]\nname = 'p'\nstow = 'pacs.example/dicom-web'", "destination.0"),
        ("[[destination]]\nname = 'p'\nstow = 'https://p:0/'", "destination.0"),
        ("[[destination]]\nname = 'p'\nstow = 'https://user:word@p/'", "destination.0"),
        ("[[destination]]\nname = 'p'\nstow = 'http://p'\ntls = { ca = 'c' }", "destination.0"),
        ("[[destination]]\nname = 'p'\nstow = 'https://p'\nuser = 'iris'", "destination.0"),
        (
            "[[destination]]\nname = 'p'\nstow = 'https://p'\ntoken_file = 't'\nuser = 'u'"
            "\npassword_file = 'w'",
            "destination.0",
        ),
        ("[[destination]]\nname = 'p'\nfolder = '/srv'\ntoken_file = 't'", "destination.0"),
        ("[[destination]]\nname = 'p'\nfolder = '/srv'\nae_title = 'A'", "destination.0"),
        ("[[destination]]\nname = 'p'\nae_title = 'A'\nhost = 'h'", "destination.0"),
        ("[[rule]]\nwhen = {}", "rule.0.name"),
        ("[[rule]]\nname = 'a'\noutputs = []", "rule.0.outputs"),
        ("[[rule]]\nname = 'a'\noutputs = ['png']", "rule.0.outputs"),
        ("[[rule]]\nname = 'a'\nchoose = 'some'", "rule.0.choose"),
        ("[engine]\nname = 'magic'", "engine.name"),
        ("[api]\nauth = 'password'", "api.auth"),
        (
            "[api]\nauth = 'cognito'\nsign_in_url = 'http://a.example'\nsign_in_client = 'a1'",
            "api.sign_in_url",
        ),
        ("[seg]\nseries_description = '{patient}'", "seg.series_description"),
        ("[seg]\nseries_description = '{task.name}'", "seg.series_description"),
        ("[seg]\nseries_description = '{task[name]}'", "seg.series_description"),
        ("[seg]\nseries_description = '{task'", "seg.series_description"),
        ("site = 'x'", "site"),
    ],
)
def test_bad_value_is_refused_with_its_key(load: Loader, text: str, key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(text)
    assert str(refused.value).startswith(f"{key}")
    assert "\n" not in str(refused.value)


_BATCH = "[queue]\nbackend = 'batch'\njob_queue = 'q'\njob_definition = 'd'\n"
_WEB = "[mirror]\nbackend = 'dynamodb'\ntable = 't'\nlayout = 'iris-web'\nweb_table = 'w'\nweb_user = 'u'"
_ELSEWHERE = "[objects]\nbackend = 's3'\nbucket = 'b'"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[rule]]\nname = 'a'\n[[rule]]\nname = 'a'", "rule names must differ: a"),
        ("[[rule]]\nname = 'upload'", "rule upload: the name is kept for NIfTI uploads"),
        ("[[rule]]\nname = 'a'\nsend_to = ['pacs']", "rule a: send_to names no"),
        ("[api]\nhost = '0.0.0.0'\nauth = 'none'", "loopback only"),
        ("[api]\nauth = 'cognito'\nsign_in_url = 'https://a.example'", "belong together"),
        ("[api]\nsign_in_url = 'https://a.example'\nsign_in_client = 'a1'", "is for auth = 'cognito'"),
        ("[api]\nauth = 'oidc'", "needs issuer, client_id and groups"),
        ("[api]\nauth = 'oidc'\noidc = {issuer = 'https://a.example', client_id = 'a'}", "needs issuer"),
        ("[api.oidc]\ngroups = {admin = ['a'], viewer = ['a']}", "a group has one role: a"),
        ("[queue]\nbackend = 'batch'", "needs job_queue and job_definition"),
        (_BATCH, "needs objects.backend = 's3'"),
        (f"{_BATCH}\n[queue.fallback]\nregion = 'eu-west-1'", "region needs bucket, job_queue and"),
        (f"{_BATCH}\n[queue.fallback]\nbucket = 'there'", "bucket of a second region: name it as region"),
        (f"{_BATCH}\n[queue.fallback]\nregion = 'Ireland'", "queue.fallback.region"),
        (
            f"{_ELSEWHERE}\n[queue.fallback]\nregion = 'us-east-1'\nbucket = 'there'\njob_queue = 'q'\n"
            "job_definition = 'd'",
            "queue.fallback.region is the first region already",
        ),
        (
            f"{_ELSEWHERE}\n[[rule]]\nname = 'ct'\nregions = ['eu-west-1']",
            "rule ct: regions does not name us-east-1",
        ),
        ("[objects]\nbackend = 's3'", "needs bucket"),
        ("[news]\nbackend = 'sqs'", "needs queue_url"),
        ("[news]\nbackend = 'sqs'\nqueue_url = 'https://sqs.example/q'", "needs queue.backend = 'batch'"),
        ("[mirror]\nbackend = 'dynamodb'", "needs table"),
        (_WEB.replace("web_user", "# "), "layout = 'iris-web' needs backend = 'dynamodb', web_table and web"),
        (_WEB, "mirror.layout = 'iris-web' needs objects.backend = 's3': its client reads files"),
        (f"{_WEB}\n[objects]\nbackend = 's3'\nbucket = 'b'", "add 'surface' to the outputs of a rule"),
    ],
)
def test_keys_that_do_not_fit_together_are_refused(load: Loader, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_api_without_auth_is_allowed_on_loopback(load: Loader, host: str) -> None:
    assert load(f"[api]\nhost = '{host}'\nauth = 'none'").api.auth == "none"


_PACS = "[[destination]]\nname = 'pacs'\n"


@pytest.mark.parametrize(
    "text",
    [
        "[dicom]\ntls = { certificate = 'x' }",
        "[dicom]\ntls_port = 2762",
        f"{_PACS}ae_title = 'A'\nhost = 'h'\nport = 104\ntls = {{ certificate = 'x', key = 'y' }}",
        f"{_PACS}ae_title = 'A'\nhost = 'h'\nport = 104\ntls = {{ ca = 'c', key = 'y' }}",
    ],
)
def test_tls_that_lacks_what_belongs_to_it_is_refused(load: Loader, text: str) -> None:
    with pytest.raises(ConfigError, match=r"tls.* need"):
        load(text)


def test_flag_that_does_not_exist_is_refused_with_those_that_do(load: Loader) -> None:
    with pytest.raises(
        ConfigError, match=r"no flag upside_down; known: closed_by_timeout, .*air_not_minus_1000"
    ):
        load("[[rule]]\nname = 'a'\nhold_flags = ['upside_down']")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[api]\nauth = 'cognito'", "api.auth"),
        ("[[rule]]\nname = 'a'\nleave_site = 'no_head'", "rule a"),
    ],
)
def test_part_that_does_not_work_yet_is_refused_with_the_way_out(load: Loader, text: str, key: str) -> None:
    with pytest.raises(ConfigError, match=r"this version does not do that yet") as refused:
        load(text)
    assert str(refused.value).startswith(key)


def test_deleting_is_refused_where_no_web_service_is_called(load: Loader) -> None:
    dicom = f"{_PACS}ae_title = 'A'\nhost = 'h'\nport = 104\n"
    assert load(f"{dicom}supersede = 'iocm'").destination[0].supersede == "iocm"
    assert load(f"{_PACS}stow = 'https://pacs'\nsupersede = 'delete'").destination[0].supersede == "delete"
    with pytest.raises(ConfigError, match="supersede = 'delete' goes with stow: use 'iocm', or 'add'"):
        load(f"{dicom}supersede = 'delete'")


def test_file_that_is_no_toml_is_refused(load: Loader) -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        load("[dicom")


def test_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "nothing.toml")


def test_config_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_config().dicom.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("destinations", "made"),
    [
        ("", ("seg", "sr")),
        ("[[destination]]\nname = 'a'\nfolder = '/a'\n", ("seg", "sr")),
        ("[[destination]]\nname = 'a'\nfolder = '/a'\noutputs = ['pdf', 'overlay']\n", ("overlay", "pdf")),
        (
            "[[destination]]\nname = 'a'\nfolder = '/a'\noutputs = ['overlay']\n"
            "[[destination]]\nname = 'b'\nfolder = '/b'\n",
            ("seg", "sr", "overlay"),
        ),
    ],
    ids=["no destination", "as the rule says", "the destination wins", "either"],
)
def test_rule_makes_what_its_destinations_want(
    load: Loader, destinations: str, made: tuple[str, ...]
) -> None:
    config = load(f"{destinations}[[rule]]\nname = 'ct'\noutputs = ['sr', 'seg']\n")
    assert config.outputs_of(config.rule[0]) == made


def test_file_of_the_job_is_made_as_the_rule_says_and_goes_to_no_destination(load: Loader) -> None:
    config = load(
        "[[destination]]\nname = 'a'\nfolder = '/a'\noutputs = ['pdf']\n"
        "[[rule]]\nname = 'ct'\noutputs = ['seg', 'surface']\n"
    )
    assert config.outputs_of(config.rule[0]) == ("pdf", "surface")
    assert config.names_for("ct", ("a",), "surface") == ()
    with pytest.raises(ConfigError, match="surface is no DICOM object and is not sent; name it in a rule's"):
        load("[[destination]]\nname = 'a'\nfolder = '/a'\noutputs = ['surface']\n")


@pytest.mark.parametrize(
    ("stow", "secret", "is_said"),
    [
        ("http://pacs.example/dicom-web", "token_file = 't'", True),
        ("http://192.0.2.10:8042/", "user = 'u'\npassword_file = 'w'", True),
        ("http://127.0.0.1:8042/", "token_file = 't'", False),
        ("https://pacs.example/dicom-web", "token_file = 't'", False),
        ("http://pacs.example/dicom-web", "", False),
    ],
)
def test_secret_that_goes_unencrypted_to_another_machine_is_warned_about(
    load: Loader, stow: str, secret: str, is_said: bool
) -> None:
    config = load(f"{_PACS}stow = '{stow}'\n{secret}")
    assert any("call it by https" in sentence for sentence in warnings_about(config)) is is_said
