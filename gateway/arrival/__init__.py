"""When a study has arrived, by evidence, and what it gets: which volumes, by which rules."""
