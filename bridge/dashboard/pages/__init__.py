"""What people see at the desk about money: each file a few addresses, one read of `bridge/views`, one template."""
