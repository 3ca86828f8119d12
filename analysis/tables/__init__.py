"""The tables of a report: from items to rows of raw numbers, one theme a file."""
