"""The kit of the interop tests: real servers and clients, started, killed and compared."""
