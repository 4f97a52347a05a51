from celeriac.cli.doctor.command import doctor

__all__ = ["doctor"]
