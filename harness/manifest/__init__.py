"""YAML to frozen, typed experiments; every fault at once."""
