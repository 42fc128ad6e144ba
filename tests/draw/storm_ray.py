"""A Ray of one machine that outlives the drivers which join it: what test_many_storm.py kills beside them. Prints its address, and ends
when its input does."""

from __future__ import annotations

import sys


def main() -> None:
    import ray

    ray.init(address="local", num_cpus=3, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
    ray.shutdown()


if __name__ == "__main__":
    main()
