"""How the machine is used: threads, memory, chunks of work, the device."""
