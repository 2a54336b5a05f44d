"""Compares what is pinned with known vulnerabilities: `python container/audit.py PIP-AUDIT FILE ...`.

Ends with 1 where one is known. Which are known says the package index, PyPI's own; a mirror may not, and then
nothing was compared: that is said, and is no failure.
"""

import json
import subprocess
import sys

OPTIONS = ("--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json")


def audit(program: str, pins: str) -> bool:
    """Say what is known about what is pinned in one file; whether nothing is."""
    command = [program, "--requirement", pins, *OPTIONS]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(found.stdout)["dependencies"]
    except ValueError:
        packages = []
    compared = [package for package in packages if "skip_reason" not in package]
    print(f"{pins}: {len(compared)} of {len(packages)} packages were compared with known vulnerabilities")
    if not compared:
        print(f"{pins}: NOT AUDITED: no source of known vulnerabilities answers here", file=sys.stderr)
    known = [(package, one) for package in compared for one in package["vulns"]]
    for package, one in known:
        what = f"{package['name']} {package['version']}: {one['id']}"
        fixed = ", ".join(one["fix_versions"]) or "no version yet"
        print(f"{pins}: {what}, fixed in {fixed}", file=sys.stderr)
    return not known


if __name__ == "__main__":
    found_none = [audit(sys.argv[1], pins) for pins in sys.argv[2:]]
    sys.exit(0 if all(found_none) else 1)
