"""What published parts are said to do, measured: one command a claim, which prints a table."""
