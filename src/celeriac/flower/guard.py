"""Who may ask what. Flower's own check comes first; this is what it leaves open.

| | Flower without authentication | basic authentication | OAuth |
|---|---|---|---|
| pages | to this machine by its own name | to who is known | to who is known |
| acts | nobody | who is known, from our own pages | the same, with the XSRF token |
| edits | nobody | of these, who is named in CELERIAC_FLOWER_EDITORS | the same |

What another site's page makes a browser send is refused in each column.
"""

from __future__ import annotations

import os
from base64 import b64decode
from typing import Any
from urllib.parse import urlsplit

from tornado.web import HTTPError

from celeriac.flower.bind import is_authenticated, is_loopback, is_open

# Users of Flower who may edit dead letters, with commas between them; `*` for all who may act.
EDITORS = "CELERIAC_FLOWER_EDITORS"

HEADERS = {
    # Escaping is what keeps markup out of our pages; this is for the day it fails. The styles are
    # Bootstrap's own, which it sets on elements.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
    ),
    "Cache-Control": "private, no-cache",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def check_read(request: Any, options: Any) -> None:
    """Raises HTTPError for a reading that another site asked for, but by a link to a page."""
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none"):
        mode = request.headers.get("Sec-Fetch-Mode")
        if mode != "navigate" or request.headers.get("Sec-Fetch-Dest") not in (None, "document"):
            raise HTTPError(403, "Cross-site request forbidden")
    if not is_authenticated(options) and not is_open() and not _is_ours(request.host):
        # Another name that leads here: how a page elsewhere reads what is on this machine.
        raise HTTPError(
            403, "Without authentication this Flower answers to localhost and 127.0.0.1 only"
        )


def _is_ours(host: str) -> bool:
    return is_loopback(urlsplit(f"//{host}").hostname or "")


def check_act(request: Any, options: Any) -> None:
    """Raises HTTPError for an act that nobody known asked for on one of our own pages."""
    check_ability(options)
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin"):
        raise HTTPError(403, "Cross-site request forbidden")
    origin = request.headers.get("Origin")
    if site is None and origin is not None and urlsplit(origin).netloc != request.host:
        raise HTTPError(403, "Cross-origin request forbidden")
    # No form can send that, so no page of another site without our leave, which nobody gets.
    if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
        raise HTTPError(415, "Acts are asked for in JSON")


def check_ability(options: Any) -> None:
    """Raises HTTPError where nobody at all may act."""
    if options.read_only:
        raise HTTPError(403, "Flower is read-only (--read-only)")
    if not is_authenticated(options):
        raise HTTPError(
            403, "Acting needs authentication: start Flower with --basic-auth=USER:PASSWORD"
        )


def check_edit(user: str) -> None:
    """Raises HTTPError for a user who may not edit dead letters: anyone who is not named."""
    named = {name.strip() for name in os.environ.get(EDITORS, "").split(",")} - {""}
    if not named:
        raise HTTPError(403, f"Editing is off: name those who may edit in {EDITORS}")
    if "*" not in named and user not in named:
        raise HTTPError(403, f"You may not edit dead letters: {EDITORS} does not name you")


def user_of(handler: Any) -> str:
    """Who asks, for the audit log; call it for those that Flower has let in."""
    user = handler.current_user
    if isinstance(user, str):
        return user
    scheme, _, credentials = handler.request.headers.get("Authorization", "").partition(" ")
    if scheme != "Basic":
        return ""
    # Flower has checked it before.
    return b64decode(credentials.strip()).decode().partition(":")[0]
