"""What a run leaves: its folder, the state from which it resumes, its curves."""
