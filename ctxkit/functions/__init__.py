"""The functions room: callable units that inherit their caller's frame, pools, contracts, work."""
