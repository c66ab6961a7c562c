"""What stands on both sides of every contestant: the provider that is asked, and the clients that ask."""
