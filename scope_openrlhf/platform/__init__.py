"""Demands of the machine: no CUDA, a Ray to start or to join, no network beyond loopback."""
