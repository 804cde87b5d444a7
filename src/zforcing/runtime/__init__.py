"""Use of the machine: device, CPU threads, memory, and work in cache-sized chunks."""
