"""The settings of the site: its database is the one that the test names."""

from __future__ import annotations

import os
from urllib.parse import parse_qsl, urlsplit

import pymysql

pymysql.install_as_MySQLdb()

_url = urlsplit(os.environ["DATABASE_URL"])

SECRET_KEY = "-"
USE_TZ = True
INSTALLED_APPS = ["celeriac.contrib.django", "shop"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _url.path[1:],
        "OPTIONS": {"timeout": 60},
    }
    if _url.scheme == "sqlite"
    else {
        "ENGINE": f"django.db.backends.{_url.scheme.partition('+')[0]}",
        "NAME": _url.path[1:],
        "USER": _url.username,
        "HOST": _url.hostname,
        "PORT": _url.port,
        "OPTIONS": dict(parse_qsl(_url.query)),
    }
}
CELERY_BROKER_URL = os.environ["CELERIAC_REDIS_URL"]
CELERIAC = {"LEASE": 2}
