"""The `poets` command: words and exit codes; everything else is in orchestrator and workers."""
