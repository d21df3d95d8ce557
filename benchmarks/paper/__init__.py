"""Every table and figure of the paper that holds an experiment, trained, evaluated and drawn again by one command."""
