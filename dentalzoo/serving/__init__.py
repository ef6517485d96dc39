"""The local HTTP API: bundles applied to images that are sent to this machine."""
