"""The settings that shape what is stored: one value for the whole bus, kept beside the events."""

from celeriac.bus_settings.bus_settings import BusSettings
from celeriac.bus_settings.record import Difference
from celeriac.bus_settings.store import SettingsStore

__all__ = ["BusSettings", "Difference", "SettingsStore"]
