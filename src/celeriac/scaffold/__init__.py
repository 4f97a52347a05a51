"""The files of a new service: `celeriac init` writes them."""

from celeriac.scaffold.form import Form
from celeriac.scaffold.name import ServiceName
from celeriac.scaffold.next_steps import next_steps
from celeriac.scaffold.project import write_project

__all__ = ["Form", "ServiceName", "next_steps", "write_project"]
