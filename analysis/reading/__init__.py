"""From files to rows: samples files, results, manifests and exchange logs, whoever wrote them."""
