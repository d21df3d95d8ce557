"""The report of an audit: added up, judged, described, compared with another, and kept as files."""
