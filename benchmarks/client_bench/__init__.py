"""The parts of benchmarks/client.py: the server of fixed latency, and the clients before it."""
