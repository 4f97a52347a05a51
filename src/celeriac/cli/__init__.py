"""The command line: `celeriac`, and the same commands as `celery -A app bus`."""


def main() -> None:
    """The console script. Every celery process imports this package, so the import is here."""
    from celeriac.cli.root import main

    main()
