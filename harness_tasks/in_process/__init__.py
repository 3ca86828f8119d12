"""Models that lm-eval runs in this process, `hf` and `vllm`, on the tasks of this suite."""
