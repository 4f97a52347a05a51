"""The scripts that append an event once and that register events of foreign producers."""

from __future__ import annotations

from celeriac.store.redis.script import Script

APPEND_ONCE = Script("append_once.lua")
NOTE_FOREIGN = Script("note_foreign.lua")
