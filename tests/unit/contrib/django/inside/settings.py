"""The settings of the site."""

from __future__ import annotations

import os
from urllib.parse import parse_qsl, urlsplit

import pymysql

pymysql.install_as_MySQLdb()

_url = urlsplit(os.environ["SITE_DATABASE"])
_first = (
    {"ENGINE": "django.db.backends.sqlite3", "NAME": _url.path[1:]}
    if _url.scheme == "sqlite"
    else {
        "ENGINE": f"django.db.backends.{_url.scheme.partition('+')[0]}",
        "NAME": _url.path[1:],
        "USER": _url.username,
        "HOST": _url.hostname,
        "PORT": _url.port,
        "OPTIONS": dict(parse_qsl(_url.query)),
    }
)

SECRET_KEY = "-"
USE_TZ = True
INSTALLED_APPS = ["celeriac.contrib.django"]
DATABASES = {
    "default": _first,
    "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SITE_OTHER"]},
}
