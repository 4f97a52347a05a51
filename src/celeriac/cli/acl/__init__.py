from celeriac.cli.acl.command import acl

__all__ = ["acl"]
