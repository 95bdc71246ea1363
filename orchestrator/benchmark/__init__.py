"""Where the time goes on this machine: `poets bench`."""
