"""Every package of the lock files may be used in a commercial project without opening its source."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Final

from zipchat_dagster.settings import PROJECT

PERMISSIVE: Final = r"MIT|BSD|Apache|ISC|Python Software Foundation|PSF|Zlib|CC0|Dual License"
# MPL and LGPL ask for the source of changes to the package itself; we use these as they are.
USED_UNCHANGED: Final = {"certifi", "hypothesis", "pathspec", "psycopg2-binary", "tqdm"}


def packages(lock: Path) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", lock.read_text("utf-8"), re.MULTILINE))


def licence(package: str) -> str | None:
    """What an installed package says of its licence; None if it is not installed."""
    try:
        found = metadata(package)
    except PackageNotFoundError:
        return None  # it is for another platform, or for the Kubernetes image
    said = {
        name: found.get_all(name, []) for name in ("License-Expression", "Classifier", "License")
    }
    said["Classifier"] = [text for text in said["Classifier"] if text.startswith("License ::")]
    lines = [text.partition("\n")[0] for texts in said.values() for text in texts]  # of whole texts
    return "; ".join(lines)


def test_every_package_has_a_compatible_licence() -> None:
    locks = [PROJECT / "requirements.lock", *(PROJECT / "deploy").glob("*.lock")]
    named = {name: licence(name) for lock in locks for name in packages(lock)}
    installed = {name: text for name, text in named.items() if text is not None}
    assert len(installed) > 100
    asking = {
        name: text[:80]
        for name, text in installed.items()
        if not re.search(PERMISSIVE, text) or re.search("GPL|General Public|MPL|Mozilla", text)
    }
    assert asking.keys() == USED_UNCHANGED & installed.keys(), asking
