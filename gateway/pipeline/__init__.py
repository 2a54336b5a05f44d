"""What happens next: when a study is complete, which volumes are taken, and one worker for each step."""
