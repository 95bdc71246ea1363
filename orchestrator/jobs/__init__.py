"""What a command calls: submit, train again, sweep, retry; from a request to a finished run."""
