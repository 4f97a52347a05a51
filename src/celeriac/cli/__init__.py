"""The command line: `celeriac`, and the same commands as `celery -A app bus`."""


def main() -> None:
    """Run the console script.

    Every celery process imports this package, so the import of the commands is inside the function.
    """
    from celeriac.cli.root import main

    main()
