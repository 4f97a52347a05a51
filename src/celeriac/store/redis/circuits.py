"""The circuits in Redis or Valkey. Each transition is one Lua script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from celeriac.circuit_breaker.circuit import BUCKETS, Breaker, Circuit, CircuitState, Probe
from celeriac.invalid_record import InvalidRecords, check_time
from celeriac.settings import Settings
from celeriac.store.redis.connection import Client, service_client
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.script import Script

_record, _probe, _switch = (Script(f"{name}.lua") for name in ("record_calls", "probe", "switch"))


class _Stored(msgspec.Struct):
    state: CircuitState
    since: int
    reason: str = ""
    trial: str = ""
    until: int | None = None


class RedisCircuits:
    """Implements Circuits."""

    def __init__(
        self,
        settings: Settings,
        client: Client | None = None,
        invalid: InvalidRecords | None = None,
    ) -> None:
        self.keys = Keys(settings.namespace)
        self.states = self.keys.circuits
        self.client: Client = client or service_client(settings)
        self.invalid = InvalidRecords() if invalid is None else invalid

    def all(self) -> Mapping[str, Circuit]:
        stored = self.invalid.unless_wrong_type(
            self.states, lambda: self.client.hgetall(self.states), {}
        )
        return self.invalid.decode_all(self.states, stored, _circuit)

    def get(self, handler: str) -> Circuit:
        stored = self.invalid.unless_wrong_type(
            self.states, lambda: self.client.hget(self.states, handler), None
        )
        try:
            return _circuit(handler, stored)
        except (ValueError, msgspec.MsgspecError, RecursionError):
            return Circuit(handler=handler)  # as in the scripts; `all` reports the invalid one

    def record(
        self, handler: str, breaker: Breaker, calls: int, failures: int, reason: str = ""
    ) -> Circuit:
        answer = self._call(
            _record, handler, calls, failures, breaker.failures,
            int(breaker.window * 1000), breaker.failure_rate,
            int(breaker.recovery_timeout * 1000), reason, BUCKETS,
        )  # fmt: skip
        return _circuit(handler, answer)

    def probe(self, handler: str, worker: str, lease_ms: int) -> Probe:
        answer, trial = self._call(_probe, handler, worker, lease_ms)
        circuit = _circuit(handler, answer)
        return Probe(circuit, None if circuit.state is CircuitState.CLOSED else int(trial))

    def pause(self, handler: str, *, for_ms: int | None = None, reason: str = "") -> Circuit:
        for_how_long = "" if for_ms is None else for_ms
        return _circuit(handler, self._call(_switch, handler, "pause", for_how_long, reason))

    def resume(self, handler: str) -> bool:
        return bool(self._call(_switch, handler, "resume", "", ""))

    def _call(self, script: Script, handler: str, *args: Any) -> Any:
        keys = self.states, self.keys.calls(handler)
        return script.on_keys(self.client, keys, handler, *args)


def _circuit(handler: str, stored: Any) -> Circuit:
    if not stored:
        return Circuit(handler=handler)
    circuit = msgspec.json.decode(stored, type=_Stored, strict=False)
    check_time("since", circuit.since)
    check_time("until", circuit.until)
    if circuit.state is CircuitState.OPEN and circuit.until is None:
        raise ValueError("is open and has no `until`")
    return Circuit(
        handler=handler, state=circuit.state, since_ms=circuit.since, until_ms=circuit.until,
        reason=circuit.reason, trial=circuit.trial,
    )  # fmt: skip
