"""What AWS says when it does not do its part, in our words: the action, the thing, and the way out.

Nothing of AWS's own text is passed on: it may hold keys, addresses and account numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    SSOTokenLoadError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.parsers import ResponseParserError

from gateway.adapters.errors import Away, OutsideError, Permanent, Retriable

_EXPIRED: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
)
_STRANGER: Final = frozenset(
    {
        *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId"),
        *("UnrecognizedClientException", "InvalidSignatureException", "MissingAuthenticationToken"),
    }
)
_DENIED: Final = frozenset(
    {
        *("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403", "Forbidden"),
        *("AllAccessDisabled", "NotAuthorized", "KMS.AccessDeniedException", "AuthorizationError"),
    }
)
_NOT_THERE: Final = frozenset(
    {
        *("NoSuchBucket", "ResourceNotFoundException", "RepositoryNotFoundException"),
        *("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"),
    }
)
_ELSEWHERE: Final = frozenset(
    {"PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
_CLOCK: Final = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})
_BUSY: Final = frozenset(
    {
        *("Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException"),
        *("ProvisionedThroughputExceededException", "RequestLimitExceeded", "SlowDown"),
    }
)
_BROKEN_OFF: Final = frozenset(
    {
        *("RequestTimeout", "RequestTimeoutException", "IncompleteBody", "BadDigest"),
        *("XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"),
    }
)
_LOST_SIGN_IN: Final = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    SSOTokenLoadError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)


@contextmanager
def asking(action: str, resource: str) -> Iterator[None]:
    """Turn what boto3 raises inside into ours.

    Parameters
    ----------
    action
        The IAM action: "s3:PutObject".
    resource
        What it is done to, as an operator knows it: "the bucket iris-data".

    Raises
    ------
    Away
        Nothing is wrong with the job: the service, the way there or the account is.
    Permanent
        The same request will be refused again.
    """
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise refusal(error, action, resource) from None
    except ResponseParserError:  # a page of some proxy, say; botocore counts it among neither
        raise Away(
            f"what answers {action} for {resource} does not speak as AWS does; look at proxies and at"
            " aws.endpoint_url"
        ) from None


def code_of(error: Exception) -> str:
    """AWS's code of a refusal; empty where AWS did not answer."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def refusal(error: ClientError | BotoCoreError, action: str, resource: str) -> OutsideError:
    """Find the words for one refusal; see `asking`."""
    code = code_of(error)
    if code in _EXPIRED:
        return Away(f"the AWS credentials have expired ({action}); renew them, the gateway then goes on")
    if code in _STRANGER or isinstance(error, _LOST_SIGN_IN):
        return Away(
            f"there are no AWS credentials that are accepted ({action}); give this machine a role, or set"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if code in _DENIED:
        return Away(f"AWS denies {action} on {resource}; allow it in the gateway's IAM policy")
    if code in _NOT_THERE:
        return Away(f"AWS does not find {resource} ({action}); look at its name and at aws.region")
    if code in _ELSEWHERE:
        return Away(f"{resource} is in another region ({action}); correct aws.region")
    if code in _CLOCK:
        return Away("this machine's clock is wrong, so AWS refuses its requests; let it keep time (NTP)")
    if code in _BUSY:
        return Away(f"AWS asks to wait ({action} on {resource})")
    if code in _BROKEN_OFF:
        return Retriable(f"what was sent did not come whole to {resource} ({action}); look at the network")
    if code.startswith("KMS."):
        return Away(
            f"AWS cannot use the KMS key of {resource} ({code}); see to the key, or to objects.kms_key"
        )
    if isinstance(error, ParamValidationError):
        return Permanent(f"{action} takes no such request for {resource}; look at its name")
    return _by_status(error, action, resource)


def _by_status(error: ClientError | BotoCoreError, action: str, resource: str) -> OutsideError:
    """What has no code that we know: refused for good, or not answered."""
    code = code_of(error)
    if not isinstance(error, ClientError):
        return Away(
            f"AWS does not answer {action} for {resource} ({type(error).__name__}); look at the network"
            " and at aws.endpoint_url"
        )
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if 400 <= status < 500 and status not in (408, 409, 429):
        return Permanent(f"AWS refuses {action} on {resource} ({code or status})")
    if status in (408, 409):
        return Retriable(f"AWS could not finish {action} on {resource} ({code or status})")
    return Away(f"AWS is in trouble: {action} on {resource} is answered with {code or status}")
