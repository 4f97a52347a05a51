"""Checks whether the handler can read the data: by its code, else by its registered readers."""

from __future__ import annotations

from collections.abc import Iterator

from celeriac.contract.registered import Fit, ReaderFit
from celeriac.explain.answer import Check, failed, passed, unknown
from celeriac.explain.fact import Facts


def contract_checks(facts: Facts) -> Iterator[Check]:
    if facts.contract is not None:
        yield failed("contract", str(facts.contract), "deploy a worker that reads that version")
    elif facts.data is True:
        yield passed("data", "its data matches the handler's type")
    elif facts.data is not None:
        remedy = f"change the data, or the type of {facts.handler}"
        yield failed("data", str(facts.data), remedy)
    elif facts.fits:
        yield from _registered(facts)


def _registered(facts: Facts) -> Iterator[Check]:
    """Check by what workers have registered. Several readers run during a deploy."""
    refused = [fit for fit in facts.fits if fit.is_refused]
    if not refused:
        # The reader of the oldest version is the one that the next event can fail on.
        fit = min(facts.fits, key=lambda fit: fit.reads or 0)
        text = _accepted(fit, facts)
        if text:
            yield passed("contract" if facts.has_contract or fit.reads else "data", text)
        return
    fit = refused[0]
    name = "data" if fit.fit is Fit.MISMATCH else "contract"
    text, remedy = _refused(fit), remedy_of(fit, facts)
    if len(refused) == len(facts.fits):
        yield failed(name, text, remedy)
        return
    workers = sum(fit.workers for fit in facts.fits)
    rejecting = sum(fit.workers for fit in refused)
    yield unknown(name, f"{rejecting} of {workers} workers cannot read it: {text}", remedy)


def _accepted(fit: ReaderFit, facts: Facts) -> str:
    version = f"version {fit.version}"
    checked = ", and its data matches" if fit.is_checked else ""
    if fit.fit is Fit.UPCASTS:
        return f"{version}, which the handler's upcasters convert to version {fit.reads}"
    if fit.fit is Fit.UNCHECKED:
        return (
            f"{version}; the handler reads version {fit.reads or 1}, if the data matches "
            "(pip install 'celeriac[contracts]' checks it)"
        )
    if fit.reads is None:
        if facts.has_contract:
            return f"{version}; the handler names no version{checked}"
        return "its data matches what the handler reads" if fit.is_checked else ""
    if fit.version > fit.reads:
        return f"{version}; the handler reads version {fit.reads}{checked}"
    return f"{version}, which the handler reads{checked}"


def _refused(fit: ReaderFit) -> str:
    if fit.fit is Fit.NO_UPCASTER:
        return f"version {fit.version}; {fit.reason}"
    if fit.fit is Fit.TOO_NEW:
        return f"version {fit.version}; the handler reads version {fit.reads or 1}: {fit.reason}"
    read = ", which the handler reads" if fit.reads else ""
    return f"version {fit.version}{read}, but {fit.reason}"


def remedy_of(fit: ReaderFit, facts: Facts) -> str:
    """Return what makes the handler read the event."""
    type_ = facts.event.type if facts.event is not None else ""
    if fit.fit is Fit.NO_UPCASTER:
        return f'add @upcast("{type_}", {fit.version}) to the code of {facts.handler}, and deploy'
    if fit.fit is Fit.TOO_NEW:
        return f"deploy a worker of {facts.handler} that reads version {fit.version}"
    return f"change the data, or the type of {facts.handler}"
