"""What every process of the service shares: files, log lines and metrics; and how to start one from Python."""
