"""The tables of a report: from the items of a comparison to rows of raw numbers, one theme a file."""
