"""What a client reports about an attempt, as the exception of a Python handler. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec

from celeriac.errors import PushFailed, Reject, Skip
from celeriac.pull.reference import Reference, read_reference
from celeriac.pull.refusal import Invalid

PullOutcome = Literal["processed", "failed", "dead", "skipped"]
OUTCOMES: tuple[str, ...] = get_args(PullOutcome)

MAX_RETRY_AFTER = 30 * 24 * 3600.0  # seconds
MAX_DELIVERIES = 100  # of one fetch, and of one `complete`
MAX_TOOK = 7 * 24 * 3600.0
MAX_MESSAGE, MAX_STACK = 2000, 20_000  # characters
_TYPE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")


class AttemptFailed(PushFailed):
    """An attempt failed outside of this process. Its subclasses have the names of foreign errors.

    `masked_trace` is the stack that the client sent; it is stored in place of a traceback.
    """

    masked_trace = ""


class AttemptRejected(Reject):
    """A client dead-lettered its delivery at once."""

    masked_trace = ""


class ErrorReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The error of a failed attempt. Dead letters are grouped by `type`."""

    message: str = ""
    type: str = ""
    stack: str = ""


class ResultReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a `complete` request. `retry_after` and `took` are in seconds."""

    entry: str
    attempt: int
    outcome: PullOutcome
    error: ErrorReport | str | None = None
    retry_after: float | None = None
    took: float = 0.0


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """A checked ResultReport. `error` is None for a processed delivery."""

    reference: Reference
    attempt: int
    outcome: PullOutcome
    error: Exception | None
    took_us: int


def read_result(body: Mapping[str, Any]) -> AttemptResult:
    """Return the result in a decoded JSON object. Raises Invalid that names the member."""
    report = convert(body, ResultReport)
    reference = read_reference(report.entry)
    check_attempt(report.attempt)
    if not 0 <= report.took <= MAX_TOOK:
        raise Invalid("`took` must be the run time in seconds, at least 0", field="took")
    if report.retry_after is not None and not 0 <= report.retry_after <= MAX_RETRY_AFTER:
        raise Invalid(
            f"`retry_after` must be from 0 to {MAX_RETRY_AFTER:g} seconds", field="retry_after"
        )
    fails = report.outcome in ("failed", "dead")
    for name, allowed in (("error", fails), ("retry_after", report.outcome == "failed")):
        if getattr(report, name) is not None and not allowed:
            raise Invalid(
                f"`{name}` does not apply to the outcome {report.outcome!r}; drop it", field=name
            )
    return AttemptResult(
        reference, report.attempt, report.outcome, _error(report), round(report.took * 1e6)
    )


def read_results(body: Mapping[str, Any]) -> list[AttemptResult]:
    """Return the results in the body of a `complete` request of several deliveries.

    Raises Invalid that names the result and its member; then none is valid.
    """
    given = body["results"]
    if len(body) > 1:
        raise Invalid("`results` must be the only member", field="results")
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_DELIVERIES:
        raise Invalid(f"`results` must be a list of 1 to {MAX_DELIVERIES} results", field="results")
    results = []
    for number, report in enumerate(given):
        if not isinstance(report, dict):
            raise Invalid("each of `results` must be a JSON object", field=f"results[{number}]")
        try:
            results.append(read_result(report))
        except Invalid as error:
            member = f".{error.field}" if error.field else ""
            field = f"results[{number}]{member}"
            raise Invalid(f"results[{number}]: {error}", field=field) from None
    return results


def read_lease(body: Mapping[str, Any]) -> tuple[Reference, int]:
    """Return entry and attempt of a `renew` request. Raises Invalid."""
    report = convert(body, LeaseReport)
    check_attempt(report.attempt)
    return read_reference(report.entry), report.attempt


class LeaseReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a `renew` request."""

    entry: str
    attempt: int


def check_attempt(attempt: int) -> None:
    """Raise Invalid unless it is an attempt that a fetch can return."""
    if not 0 < attempt < 2**31:
        raise Invalid("`attempt` must be the `attempt` of a fetched delivery", field="attempt")


def convert(body: Mapping[str, Any], type: type[Any]) -> Any:
    """Return the JSON object as a Struct. Raises Invalid that names the wrong member."""
    try:
        return msgspec.convert(dict(body), type)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        field = path.strip("`.").partition(".")[0]
        raise Invalid(f"`{field}`: {text}" if field else text, field=field) from None


def _error(report: ResultReport) -> Exception | None:
    given = report.error
    error = ErrorReport(message=given) if isinstance(given, str) else given or ErrorReport()
    if error.type and not _TYPE.fullmatch(error.type):
        raise Invalid(
            "`error.type` must be a name of letters, digits, _ and dots, such as TimeoutError",
            field="error",
        )
    if report.outcome == "processed":
        return None
    if report.outcome == "skipped":
        return Skip()
    message = error.message[:MAX_MESSAGE] or "the handler named no reason"
    failed: AttemptFailed | AttemptRejected
    if report.outcome == "dead":
        failed = _named(AttemptRejected, error.type or "Rejected")(message)
    else:
        failed = _named(AttemptFailed, error.type or "AttemptFailed")(
            message, after=report.retry_after
        )
    failed.masked_trace = error.stack[-MAX_STACK:]
    return failed


def _named(base: type[Any], name: str) -> type[Any]:
    """Return a subclass with this name: the stored error is `name: message`."""
    return type(name, (base,), {"__module__": "client", "__qualname__": name})
