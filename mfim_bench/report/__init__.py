"""What a person reads: the table, the page, comparisons of runs."""
