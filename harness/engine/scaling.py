"""Whether more nodes may come: Ray has no public call that tells, so this asks as Ray itself does.

Held to the pinned version by a (slow) test that starts an autoscaling cluster.
"""

import json

import ray
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray.autoscaler._private.util import format_readonly_node_type
from ray.experimental.internal_kv import _internal_kv_get


def autoscales() -> bool:
    """Whether an autoscaler, of either version, looks after the cluster we are connected to."""
    config = ray._private.state.state.get_cluster_config()
    if config is not None and config.node_group_configs:
        return True
    # The first version tells nothing but its status, which a fixed cluster has as well: there
    # each node is a type of its own.
    status = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or "{}")
    types = (status.get("autoscaler_report") or {}).get("node_type_mapping") or {}
    return any(kind != format_readonly_node_type(node) for node, kind in types.items())
