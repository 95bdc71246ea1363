"""From a plan to its result: what to send, when, and what to do about failures."""
