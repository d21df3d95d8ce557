"""The report as one self-contained HTML page: its words, plots and pictures."""
