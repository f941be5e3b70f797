"""A night's summary sent to where people read: any service that takes `{"text": …}`."""

TIMEOUT_S = 10.0


def post(url: str, text: str) -> str | None:
    """Send `text`, once; returns what went wrong, without the address, which is a secret."""
    import requests  # noqa: PLC0415 - only nights that end in a message need it

    try:
        answer = requests.post(url, json={"text": text}, timeout=TIMEOUT_S)
    except requests.RequestException as error:
        return type(error).__name__  # its message holds the address
    return None if answer.ok else f"HTTP status {answer.status_code}"
