"""The first page of the tutorial, done: its own code, a real worker, its own words."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from celeriac.testing.process_guard import guarded_popen

PAGE = (Path(__file__).parents[2] / "docs/tutorial/first-event.md").read_text()


def snippet(language: str, beginning: str) -> str:
    """The page's block of code that begins like that."""
    [found] = re.findall(rf"```{language}\n({re.escape(beginning)}.*?)```", PAGE, re.S)
    return str(found)


def test_hello_world_is_processed(deployment: Any) -> None:
    """`emit` in Python and `celeriac emit` in the shell both make the worker print the line."""
    service = deployment.directory / "service"
    service.mkdir()
    (service / "shop.py").write_text(snippet("python", "# shop.py"))
    bin = Path(sys.executable).parent
    environment = {**deployment.environment, "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}"}

    def shell(command: str) -> list[str]:
        program, *arguments = shlex.split(command)
        return [str(bin / program), *arguments]

    log: Path = deployment.directory / "worker.log"
    command = shell(snippet("sh", "celery -A shop worker"))
    with log.open("wb") as out:
        worker = guarded_popen(command, env=environment, cwd=service, stdout=out, stderr=out)
    deployment.stack.enter_context(worker)
    deployment.joined("shop.greet", "greeting")

    def printed() -> int:
        return log.read_text().count("处理 Hello, World! 事件")

    def emit(command: list[str]) -> str:
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return ran.stdout.strip()

    in_python = snippet("python", "from celeriac import emit")
    event_id = emit([sys.executable, "-c", f"{in_python}\nprint(event_id)"])
    deployment.until(lambda: printed() == 1, what="the line of `emit`")
    emit(shell(snippet("sh", "celeriac emit")))
    deployment.until(lambda: printed() == 2, what="the line of `celeriac emit`")
    deployment.until_settled()
    status = emit([str(bin / "celeriac"), "status", event_id])
    assert re.search(r"shop\.greet +processed +1 ", status)
