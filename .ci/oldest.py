"""Print the oldest versions of the packages holter needs that pyproject.toml allows, as pip's constraints."""

from __future__ import annotations

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in project["dependencies"] + project["optional-dependencies"]["console"]:
    print(requirement.replace(">=", "=="))
