"""What the machine asks for: no CUDA, no network beyond loopback."""
