"""Every table and figure of the paper with an experiment, reproduced by one command: trained, evaluated and drawn."""
