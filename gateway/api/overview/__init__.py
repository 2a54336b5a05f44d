"""What an operator sees first: whether all is well, figures as they stand, what a day or a month brought."""
