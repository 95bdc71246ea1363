"""What runs on a worker, and the contracts that workers, orchestrator and cli share."""

DISTRIBUTION = "poets"
