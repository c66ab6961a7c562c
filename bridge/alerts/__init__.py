"""Alerts: what is wrong, told to people by webhook and e-mail, once, again while it lasts, and when it is over."""
