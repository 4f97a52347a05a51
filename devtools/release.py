"""Build what is published, and test it as a user gets it: `python3 dev.py release`.

Writes to dist/: `packages/` with the wheel and the source distribution, a software bill of
materials (CycloneDX) of the wheel and its dependencies, and SHA256SUMS. Needs a package index. With
`--tag v0.1.0` it fails unless the version is 0.1.0 and CHANGELOG.md has its date.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dev

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
PACKAGES = DIST / "packages"
INSTALLERS = frozenset({"pip", "setuptools"})


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="dev.py release", description=__doc__)
    parser.add_argument("--tag", help="the tag that is released, such as v0.1.0")
    options = parser.parse_args(arguments)
    shutil.rmtree(DIST, ignore_errors=True)
    wheel = build()
    version = wheel.name.split("-")[1]
    if options.tag:
        check_tag(options.tag, version, (ROOT / "CHANGELOG.md").read_text("utf-8"))
    check_contents(wheel)
    with tempfile.TemporaryDirectory() as directory:
        python = Path(directory, "venv", "bin", "python")
        venv.EnvBuilder(symlinks=True).create(python.parents[1])
        install(python, str(wheel))
        write_sbom(python, version, DIST / f"celeriac-{version}.cdx.json")
        install(python, f"{wheel}[embedded]")
        smoke = str(ROOT / "devtools" / "smoke.py")
        # -I: from the wheel, not from this checkout
        subprocess.run([python, "-I", smoke], cwd=directory, env=bare_environment(), check=True)
    write_hashes()
    print(f"dev.py: the wheel is {wheel.relative_to(ROOT)}", flush=True)
    return 0


def build() -> Path:
    """Build with the locked build backend, and check what the package index would show."""
    target = ["--outdir", str(PACKAGES)]
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", *target], check=True)
    files = sorted(map(str, PACKAGES.iterdir()))
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)
    (wheel,) = PACKAGES.glob("*.whl")
    return wheel


def check_tag(tag: str, version: str, changelog: str) -> None:
    """Raise dev.Failure unless the tag, the version and the changelog agree."""
    if tag != f"v{version}":
        raise dev.Failure(f"the tag is {tag} and the version {version}; tag v{version}")
    if not re.search(rf"^## \[?{re.escape(version)}\b.*\d{{4}}-\d\d-\d\d", changelog, re.M):
        raise dev.Failure(f"CHANGELOG.md has no section {version} with a date; add it")


def check_contents(wheel: Path) -> None:
    """Raise dev.Failure if the wheel has a file outside of the package."""
    expected = ("celeriac/", f"celeriac-{wheel.name.split('-')[1]}.dist-info/")
    names = zipfile.ZipFile(wheel).namelist()
    foreign = [name for name in names if not name.startswith(expected)]
    foreign += [name for name in names if name.startswith("celeriac/dev/")]
    if foreign:
        raise dev.Failure(f"{wheel.name} holds {foreign[0]}; the wheel is for the library alone")


def install(python: Path, what: str) -> None:
    """Install as a user does: the newest dependencies that the metadata allows."""
    progress = dev.Progress(f"installing {what.rpartition('/')[2]} into a clean environment")
    failure = None
    for name, installer in dev.installers(str(python), progress):
        failure = dev.run([*installer, what], progress)
        if failure is None:
            progress.close(f"installed by {name}")
            return
    raise dev.Failure(f"the wheel could not be installed:\n{failure}")


def write_sbom(python: Path, version: str, target: Path) -> None:
    """Write the software bill of materials of an environment that has the wheel."""
    command = [os.path.join(os.path.dirname(sys.executable), "cyclonedx-py"), "environment"]
    command += ["--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible"]
    listed = subprocess.run([*command, str(python)], check=True, stdout=subprocess.PIPE).stdout
    sbom = completed(json.loads(listed), version)
    target.write_text(json.dumps(sbom, indent=2, ensure_ascii=False) + "\n", "utf-8")


def completed(sbom: dict[str, Any], version: str) -> dict[str, Any]:
    """Return the bill with our version, which pyproject.toml leaves to the build, and without the
    installer."""
    sbom["metadata"]["component"] |= {"version": version, "purl": f"pkg:pypi/celeriac@{version}"}
    installers = {c["bom-ref"] for c in sbom["components"] if c["name"] in INSTALLERS}
    for part, name in (("components", "bom-ref"), ("dependencies", "ref")):
        sbom[part] = [entry for entry in sbom[part] if entry[name] not in installers]
    return sbom


def write_hashes() -> None:
    files = sorted(path for path in DIST.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (DIST / "SHA256SUMS").write_text("".join(lines))


def bare_environment() -> dict[str, str]:
    """Return this environment without what leads Python or celeriac elsewhere."""
    ours = ("CELERIAC_", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except dev.Failure as failure:
        sys.exit(f"dev.py: {failure}")
