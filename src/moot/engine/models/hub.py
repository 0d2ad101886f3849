"""The model hub as a source, through `huggingface_hub` where that is installed (imported here only)."""

from __future__ import annotations

import importlib.util
import os
import urllib.error
import urllib.request
from pathlib import Path

from moot.engine.models.catalogue import HubFile

__all__ = ["HubUnavailable", "fetch_from_hub"]

_PATIENCE = 3.0


class HubUnavailable(Exception):
    """The hub is no source here and now; the text says why. A reason to go on with the next one, not a failure."""


def fetch_from_hub(file: HubFile, folder: Path) -> Path:
    """Download ``file`` into ``folder`` (resuming); raises `HubUnavailable`. The bytes are not checked here."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        raise HubUnavailable("HF_HUB_OFFLINE is set")
    if importlib.util.find_spec("huggingface_hub") is None:
        raise HubUnavailable("huggingface_hub is not installed")
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    _check_reachable(endpoint)
    import huggingface_hub

    try:
        return Path(huggingface_hub.hf_hub_download(file.repository, file.filename, local_dir=folder))
    except Exception as error:  # the library's errors have no common root; the next source is tried
        raise HubUnavailable(f"{type(error).__name__}: {error}") from error


def _check_reachable(endpoint: str) -> None:
    # The library itself would retry for minutes where a firewall drops packets.
    if not endpoint.startswith(("https://", "http://")):
        raise HubUnavailable(f"HF_ENDPOINT {endpoint!r} is not an http(s) URL")
    request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310 - the scheme was checked
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE):  # noqa: S310
            return
    except urllib.error.HTTPError as answer:
        answer.close()
        return
    except OSError as error:
        raise HubUnavailable(f"{endpoint} does not answer") from error
