"""A node as a process: `python -m tests.nodes.node serve …` is `askbot serve …` with leases that end soon."""

from __future__ import annotations

from askbot_ws.cli import main
from askbot_ws.nodes import membership

LEASE_SECONDS, RENEWAL_SECONDS = 1.5, 0.4

if __name__ == "__main__":
    membership.LEASE_TIMES = membership.LeaseTimes(lease=LEASE_SECONDS, renewal=RENEWAL_SECONDS)
    main()
