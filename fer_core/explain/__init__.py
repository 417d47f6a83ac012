"""What the network looks at, and what its layers have learned."""
