"""Prints what the project needs, with these extras: `python container/dependencies.py aws > needed.txt`.

pip can check no hash of a folder: first what is needed is installed, with hashes, and then the project alone.
"""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]

project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = [project["optional-dependencies"][extra] for extra in sys.argv[1:]]
print("\n".join(sum(extras, project["dependencies"])))
