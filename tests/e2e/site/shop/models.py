from __future__ import annotations

from django.db import models


class Order(models.Model):
    number = models.CharField(max_length=50)

    class Meta:
        app_label = "shop"


class Effect(models.Model):
    """What a handler did, without a unique key."""

    handler = models.CharField(max_length=50)
    event_id = models.CharField(max_length=255)

    class Meta:
        app_label = "shop"
