"""What every process of the service uses: shared files, logs and metrics; and starting a server from Python."""
