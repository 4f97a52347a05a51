"""The settings that all services of a bus share, stored with its events."""

from celeriac.bus_settings.bus_settings import BusSettings
from celeriac.bus_settings.record import Difference
from celeriac.bus_settings.store import SettingsStore

__all__ = ["BusSettings", "Difference", "SettingsStore"]
