"""Send a night's summary to any service that takes `{"text": …}` by HTTP."""

import json
import urllib.error
import urllib.request
from http.client import HTTPException

TIMEOUT_S = 10.0


def post(url: str, text: str) -> str | None:
    """Send `text` once; returns what went wrong, without the address, which is a secret."""
    if not url.startswith(("https://", "http://")):
        return "its address begins neither with https:// nor with http://"
    try:
        request = urllib.request.Request(  # noqa: S310 - http and https only
            url,
            json.dumps({"text": text}).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=TIMEOUT_S).close()  # noqa: S310 - as above
    except urllib.error.HTTPError as error:
        return f"HTTP status {error.code}"
    except urllib.error.URLError as error:
        return type(error.reason).__name__  # the messages may hold the address
    except (OSError, HTTPException, ValueError) as error:
        return type(error).__name__
    return None
