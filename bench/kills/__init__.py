"""What bench/crash is made of: a client, a node (daemon and server), a load, checks, rounds."""
