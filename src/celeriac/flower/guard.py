"""Access control of the pages. It adds to Flower's own checks.

|  | Flower without authentication | basic authentication | OAuth |
|---|---|---|---|
| pages | this machine, by its own name | known users | known users |
| actions | no user | known users, from our own pages | the same, with the XSRF token |
| edits | no user | known users named in CELERIAC_FLOWER_EDITORS | the same |

Requests that another site's page makes a browser send are refused in each column.
"""

from __future__ import annotations

import os
from base64 import b64decode
from typing import Any
from urllib.parse import urlsplit

from tornado.web import HTTPError

from celeriac.flower.bind import is_authenticated, is_loopback, is_open

# Users of Flower who may edit dead letters, separated by commas; `*` for all who may act.
EDITORS = "CELERIAC_FLOWER_EDITORS"

HEADERS = {
    # Escaping keeps markup out of our pages; this policy limits the damage if escaping fails. The
    # inline styles are Bootstrap's, which it sets on elements.
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
    """Raise HTTPError for a cross-site read, unless it follows a link to a page."""
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none"):
        mode = request.headers.get("Sec-Fetch-Mode")
        if mode != "navigate" or request.headers.get("Sec-Fetch-Dest") not in (None, "document"):
            raise HTTPError(403, "Cross-site request forbidden")
    if not is_authenticated(options) and not is_open() and not _is_ours(request.host):
        # DNS rebinding: a page elsewhere can read this machine through another name that resolves
        # here.
        raise HTTPError(
            403, "Without authentication this Flower only serves localhost and 127.0.0.1."
        )


def _is_ours(host: str) -> bool:
    return is_loopback(urlsplit(f"//{host}").hostname or "")


def check_action(request: Any, options: Any) -> None:
    """Raise HTTPError unless a known user requests the action from one of our own pages."""
    check_ability(options)
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin"):
        raise HTTPError(403, "Cross-site request forbidden")
    origin = request.headers.get("Origin")
    if site is None and origin is not None and urlsplit(origin).netloc != request.host:
        raise HTTPError(403, "Cross-origin request forbidden")
    # No form can send JSON, so a page of another site needs a CORS permission, which is never
    # granted.
    if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
        raise HTTPError(415, "Actions must be JSON")


def check_ability(options: Any) -> None:
    """Raise HTTPError if no user may act."""
    if options.read_only:
        raise HTTPError(403, "Flower is read-only. Start it without --read-only.")
    if not is_authenticated(options):
        raise HTTPError(
            403, "Actions need authentication. Start Flower with --basic-auth=USER:PASSWORD."
        )


def check_edit(user: str) -> None:
    """Raise HTTPError unless the user is named as an editor of dead letters."""
    named = {name.strip() for name in os.environ.get(EDITORS, "").split(",")} - {""}
    if not named:
        raise HTTPError(403, f"Editing is disabled. Set {EDITORS} to the users who may edit.")
    if "*" not in named and user not in named:
        raise HTTPError(
            403, f"You may not edit dead letters. Ask an administrator to add you to {EDITORS}."
        )


def user_of(handler: Any) -> str:
    """Return the user for the audit log. The request must be authenticated."""
    user = handler.current_user
    if isinstance(user, str):
        return user
    scheme, _, credentials = handler.request.headers.get("Authorization", "").partition(" ")
    if scheme != "Basic":
        return ""
    # Flower has checked the header before.
    return b64decode(credentials.strip()).decode().partition(":")[0]
