"""The desk: the people who decide, and what they propose and approve. No page is drawn here."""
