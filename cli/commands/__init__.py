"""One file per command or group of commands, imported only when one of them is called."""
