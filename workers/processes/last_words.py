"""What a process that has died said last."""

_HEADING = "Traceback (most recent call last):"


def find_last_words(said: str) -> str:
    """Return the error of the last traceback in what a process wrote, else its last line.

    The message of an error may have many lines, of which the first one counts.
    """
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    if _HEADING in lines:
        after = lines[len(lines) - lines[::-1].index(_HEADING) :]
        raised = [line for line in after if not line.startswith(" ")]
        return (raised or after[-1:] or [""])[0].strip()
    return (lines[-1:] or [""])[0].strip()
