"""The parts of benchmarks/proxy.py: workloads, upstream, load, peers, processes, report."""
